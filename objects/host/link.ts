import { importPrivateKey, importPublicKey } from "../../contract/envelope.ts";
import type { AgentBody, ControlBody, Question } from "../../contract/frame.ts";
import { accept, PROBLEMS, type ProblemCode, type Reply, refuse } from "../../contract/problem.ts";
import { Call } from "./call.ts";
import { QuestionError, Questions } from "./questions.ts";
import type { HostIdentity } from "./record.ts";
import { type Keys, Tunnel } from "./tunnel.ts";

/** What the link needs of its object. */
export type LinkOwner = {
  identity: () => HostIdentity;
  /** The boot that said hello last; null before the first. */
  bootId: () => string | null;
  /** Takes what the agent says, and answers what to send back. */
  receive: (body: AgentBody) => Iterable<ControlBody>;
  closed: (bootId: string) => void;
  /** A frame's body as the agent is to get it: what is sealed in it opened. */
  opened: (body: ControlBody) => Promise<ControlBody>;
};

/** The only link to a host's agent, over whichever transport the host joined with. */
export class Link {
  readonly #owner: LinkOwner;
  readonly #questions = new Questions();
  readonly #tunnel: Tunnel;
  readonly #call: Call;
  #keys: Promise<Keys> | null = null;

  constructor(ctx: DurableObjectState, owner: LinkOwner) {
    this.#owner = owner;
    const shared = {
      keys: () => this.#keyPair(),
      hostId: () => owner.identity().id,
      receive: (body: AgentBody) => this.#receive(body),
      opened: owner.opened,
    };
    this.#tunnel = new Tunnel(ctx, { ...shared, closed: (bootId) => this.#closed(bootId) });
    this.#call = new Call({ ...shared, endpoint: () => owner.identity().endpoint ?? "", bootId: owner.bootId });
  }

  fetch(request: Request): Promise<Response> {
    return new URL(request.url).pathname.endsWith("/tunnel") ? this.#tunnel.open(request) : this.#call.accept(request);
  }

  message(socket: WebSocket, text: string | ArrayBuffer): Promise<void> {
    return this.#tunnel.message(socket, text);
  }

  closed(socket: WebSocket): void {
    this.#tunnel.closed(socket);
  }

  /**
   * Sends to the agent. False when there is no connection, which is no loss: the next one restates everything. Throws when a call was not
   * taken.
   */
  async send(bodies: () => Iterable<ControlBody>): Promise<boolean> {
    if (this.#owner.identity().transport === "tunnel") return this.#tunnel.send(bodies);
    if (this.#owner.bootId() === null) return false;
    for (const body of bodies()) await this.#call.send(body);
    return true;
  }

  /** Asks the agent. The stream carries what it answers; it fails with a QuestionError when the agent could not answer. */
  async ask(question: Question): Promise<Reply<ReadableStream<unknown>>> {
    const { op, answer } = this.#questions.begin((cancelled) => void this.#cancel(cancelled));
    const asked: ControlBody = { kind: "ask", op, question };
    if (this.#owner.identity().transport === "tunnel") {
      if (await this.#tunnel.send(() => [asked])) return accept(answer);
    } else if (this.#owner.bootId() !== null) {
      // The answer comes with the call's response, for as long as it lasts.
      this.#call
        .send(asked, (body) => void this.#receive(body))
        .catch((error) => this.#questions.end(op, { code: "host_unavailable", message: String(error) }));
      return accept(answer);
    }
    this.#questions.end(op, null);
    return refuse("host_unavailable", `Host ${this.#owner.identity().name} is not connected.`, {
      more: { retry_after: 5 },
    });
  }

  /** When the agent last showed life on a tunnel, ms since 1970; 0 when there is none. */
  lastSeen(): number {
    return this.#tunnel.lastSeen();
  }

  /** Tells the agent that its host was removed, and hangs up. */
  async dismiss(): Promise<void> {
    await this.send(() => [{ kind: "dismiss" }]);
    this.#tunnel.closeAll(1000, "host removed");
  }

  #receive(body: AgentBody): Iterable<ControlBody> {
    switch (body.kind) {
      case "hello":
        this.#questions.endAll("the agent was restarted");
        return this.#owner.receive(body);
      case "chunk":
        this.#questions.chunk(body.op, body.data);
        return [];
      case "end":
        this.#questions.end(body.op, body.error);
        return [];
      default:
        return this.#owner.receive(body);
    }
  }

  #closed(bootId: string): void {
    this.#questions.endAll("the connection to the agent was closed");
    this.#owner.closed(bootId);
  }

  async #cancel(op: string): Promise<void> {
    await this.send(() => [{ kind: "cancel", op }]).catch(() => false);
  }

  #keyPair(): Promise<Keys> {
    this.#keys ??= (async () => {
      const { control_private_key, public_key } = this.#owner.identity();
      const [sign, verify] = await Promise.all([importPrivateKey(control_private_key), importPublicKey(public_key)]);
      return { sign, verify };
    })();
    return this.#keys;
  }
}

/** A failed question as a refusal: the agent's code when it is one of ours, else that the host does not answer. */
export function questionRefusal(error: unknown): Reply<never> {
  const code =
    error instanceof QuestionError && error.code in PROBLEMS ? (error.code as ProblemCode) : "host_unavailable";
  return refuse(code, error instanceof Error ? error.message : String(error));
}
