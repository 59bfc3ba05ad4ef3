import { CLOCK_TOLERANCE_MS, open, seal, toBase64Url } from "../../contract/envelope.ts";
import { type AgentBody, AgentFrame, type ControlBody } from "../../contract/frame.ts";
import { type Keys, refusal } from "./tunnel.ts";

/** How long a call to an agent may take before it counts as unanswered, ms. What streams may go on for longer once it has begun. */
const CALL_TIMEOUT_MS = 10_000;

type Owner = {
  keys: () => Promise<Keys>;
  hostId: () => string;
  endpoint: () => string;
  /** The boot that said hello last; null before the first, and when it was silent for too long since. */
  bootId: () => string | null;
  receive: (body: AgentBody) => Iterable<ControlBody>;
  opened: (body: ControlBody) => Promise<ControlBody>;
};

/**
 * The call transport: signed requests to the agent's own address, and the agent's signed requests to us. A frame is refused when its clock
 * is off, when it is not of the present boot, or when its seq is not above the last; a frame that is repeated after this object was
 * evicted can only restate what was already seen, since observations carry their time.
 */
export class Call {
  readonly #owner: Owner;
  #received = { boot_id: "", seq: 0 };
  #sent = 0;

  constructor(owner: Owner) {
    this.#owner = owner;
  }

  /** Answers a frame that an agent posted. */
  async accept(request: Request): Promise<Response> {
    const { verify, sign } = await this.#owner.keys();
    const frame = AgentFrame.safeParse(await open(verify, await request.text()));
    if (!frame.success || frame.data.host_id !== this.#owner.hostId())
      return refusal("unauthenticated", "The frame is not signed by this host's key, or does not parse.");
    const { session, seq, at, nonce, body } = frame.data;
    if (Math.abs(Date.now() - at) > CLOCK_TOLERANCE_MS)
      return refusal("unauthenticated", `The host's clock is off by more than ${CLOCK_TOLERANCE_MS / 1000} s.`);
    const boot = body.kind === "hello" ? body.boot_id : this.#owner.bootId();
    if (session !== boot) return refusal("action_not_allowed", "Nothing is known of this boot; say hello first.");
    if (session === this.#received.boot_id && seq <= this.#received.seq)
      return refusal("unauthenticated", "The frame was seen before.");
    this.#received = { boot_id: session, seq };
    const told = merged(this.#owner.receive(body));
    // In one row with what is sent: by it the agent tells a set of workloads that was overtaken.
    const own = this.#next();
    const answer = await this.#owner.opened(told);
    return new Response(
      await seal(sign, { host_id: this.#owner.hostId(), session, seq: own, at: Date.now(), nonce, body: answer }),
      {
        headers: { "Content-Type": "application/json" },
      },
    );
  }

  /** Sends one frame and hands over each frame of the answer as it comes. Throws when the agent did not take it. */
  async send(body: ControlBody, each: (body: AgentBody) => void = () => undefined): Promise<void> {
    const { verify, sign } = await this.#owner.keys();
    const session = this.#owner.bootId();
    if (session === null) throw new Error("the agent has not said hello yet");
    const nonce = toBase64Url(crypto.getRandomValues(new Uint8Array(12)));
    const text = await seal(sign, {
      host_id: this.#owner.hostId(),
      session,
      seq: this.#next(),
      at: Date.now(),
      nonce,
      body: await this.#owner.opened(body),
    });
    const response = await this.#post(text);
    if (!response.ok || !response.body) throw new Error(`the agent answered ${response.status}`);
    for await (const line of lines(response.body)) {
      const frame = AgentFrame.safeParse(await open(verify, line));
      if (!frame.success || frame.data.nonce !== nonce || frame.data.session !== session)
        throw new Error("the agent's answer is not signed by its key, or is not the answer");
      each(frame.data.body);
    }
  }

  /** Rises over evictions too, of which this object remembers nothing. */
  #next(): number {
    this.#sent = Math.max(this.#sent + 1, Date.now());
    return this.#sent;
  }

  async #post(text: string): Promise<Response> {
    // Not AbortSignal.timeout: that keeps the object awake for the whole time even after the answer came.
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(new Error("the agent did not answer in time")), CALL_TIMEOUT_MS);
    try {
      return await fetch(new URL("/frames", this.#owner.endpoint()), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: text,
        redirect: "manual",
        signal: controller.signal,
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** An HTTP answer is one frame: the parts of a `desired` are put together, and saying nothing is `ok`. */
function merged(bodies: Iterable<ControlBody>): ControlBody {
  let answer: ControlBody = { kind: "ok" };
  for (const body of bodies) {
    answer =
      answer.kind === "desired" && body.kind === "desired"
        ? { ...body, workloads: [...answer.workloads, ...body.workloads] }
        : body;
  }
  return answer;
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts.filter((part) => part !== "");
  }
  if (rest.trim() !== "") yield rest;
}
