import { env } from "cloudflare:workers";
import {
  generateKeyPair,
  importPrivateKey,
  importPublicKey,
  open,
  seal,
  toBase64Url,
} from "../../contract/envelope.ts";
import { type AgentBody, type ControlBody, ControlFrame, enrolProofText, type Question } from "../../contract/frame.ts";
import { newId } from "../../contract/id.ts";
import type { Observation, Workload } from "../../contract/workload.ts";
import type { HostObject } from "../../objects/host/object.ts";
import { remote } from "../../objects/remote.ts";

/**
 * An agent as far as a HostObject can tell: it speaks the real signed frames over a real tunnel, and says of each workload what the test's
 * `behaviour` says. It has podman, which nothing else in the worker project asks for: the files of the project share their hosts.
 */
export class SimulatedAgent {
  readonly id: string;
  /** What runs here by workload id: the newest generation that was applied. */
  readonly workloads = new Map<string, { workload: Workload; observation: Observation }>();
  /** Instances are processes; whoever has one of those takes the host out again when it is done. */
  runtime: "podman" | "process" | "postgres" = "podman";
  capacity = { memory_bytes: 8 * 1024 ** 3, cpu_millis: 4000 };
  /** What to see of a workload that was applied; null keeps silent. */
  behaviour: (workload: Workload) => Observation | null = (workload) => running(workload);
  /** What to answer to a question; undefined keeps silent. */
  answers: (question: Question) => unknown = () => undefined;
  /** Hears each workload as the HostObject says it. */
  heard: (workload: Workload) => void = () => {};
  /** Hears what was granted of the leases of writers. */
  renewed: (body: Extract<ControlBody, { kind: "renewed" }>) => void = () => {};
  received: string[] = [];
  #sign: CryptoKey;
  #verify: CryptoKey;
  #socket: WebSocket | null = null;
  #session = "";
  #sent = 0;
  #boot = "boot-0";
  #boots = 0;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(id: string, sign: CryptoKey, verify: CryptoKey) {
    this.id = id;
    this.#sign = sign;
    this.#verify = verify;
  }

  get host() {
    return remote<HostObject>(env.HOST, this.id);
  }

  static async enrol(name = "sim", labels: Record<string, string> = {}): Promise<SimulatedAgent> {
    const keys = await generateKeyPair();
    const sign = await importPrivateKey(keys.privateKey);
    const at = Date.now();
    const proof = await crypto.subtle.sign("Ed25519", sign, new TextEncoder().encode(enrolProofText(name, at)));
    const id = newId("host", at);
    const request = {
      name,
      public_key: keys.publicKey,
      transport: "tunnel" as const,
      labels: {},
      at,
      proof: toBase64Url(new Uint8Array(proof)),
    };
    const reply = await remote<HostObject>(env.HOST, id).enrol({
      id,
      request,
      labels,
      actor: "tok_test",
      request_id: "req_test",
    });
    if (!reply.ok) throw new Error(reply.refusal.detail);
    const { control_public_key } = JSON.parse(reply.value.body) as { control_public_key: string };
    return new SimulatedAgent(id, sign, await importPublicKey(control_public_key));
  }

  /** Connects as a new boot and comes to `ready`, unless the object says otherwise. */
  async connect(): Promise<Response> {
    this.#boots += 1;
    this.#boot = `boot-${this.#boots}`;
    const connect = {
      kind: "connect",
      host_id: this.id,
      boot_id: this.#boot,
      at: Date.now(),
      nonce: crypto.randomUUID(),
    };
    const header = btoa(await seal(this.#sign, connect));
    const response = await env.HOST.getByName(this.id).fetch(`http://control/hosts/${this.id}/tunnel`, {
      headers: { Upgrade: "websocket", "Lamplighter-Connect": header },
    });
    const socket = response.webSocket;
    if (!socket) return response;
    this.#socket = socket;
    this.#sent = 0;
    const challenged = new Promise<void>((resolve) => {
      socket.addEventListener("message", (event) => {
        this.#turn = this.#turn.then(async () => {
          await this.#take(String(event.data));
          resolve();
        });
      });
    });
    socket.accept();
    await challenged;
    const policy = { privileged: false, host_network: false, host_mounts: [], images: [] };
    await this.send({
      kind: "hello",
      protocol: 1,
      boot_id: this.#boot,
      agent_version: "sim",
      runtimes: [
        { runtime: this.runtime, version: "1" },
        ...(this.runtime === "process" ? [{ runtime: "proxy" as const, version: "1" }] : []),
      ],
      capacity: this.capacity,
      policy,
    });
    await this.send({
      kind: "inventory",
      observations: [...this.workloads.values()].map(({ observation }) => observation),
      last: true,
    });
    return response;
  }

  async send(body: AgentBody, over: { seq?: number; session?: string } = {}): Promise<void> {
    this.#sent += 1;
    const frame = {
      host_id: this.id,
      session: over.session ?? this.#session,
      seq: over.seq ?? this.#sent,
      at: Date.now(),
      nonce: crypto.randomUUID(),
      body,
    };
    this.#socket?.send(await seal(this.#sign, frame));
  }

  async report(...observations: Observation[]): Promise<void> {
    for (const observation of observations) {
      const known = this.workloads.get(observation.id);
      if (known) known.observation = observation;
    }
    await this.send({ kind: "report", observations });
  }

  /** The program of a workload ends. */
  async exit(id: string, code: number): Promise<void> {
    const known = this.workloads.get(id);
    if (!known) throw new Error(`${id} is not here`);
    const at = Date.now();
    const exit = { code, signal: null, oom: false, at, evidence: "kept" as const };
    await this.report({ phase: "exited", id, generation: known.workload.generation, at, exit });
  }

  disconnect(): void {
    this.#socket?.close(1000, "bye");
    this.#socket = null;
  }

  raw(text: string): void {
    this.#socket?.send(text);
  }

  async #take(text: string): Promise<void> {
    const { body, session } = ControlFrame.parse(await open(this.#verify, text));
    this.received.push(body.kind);
    if (body.kind === "challenge") this.#session = session;
    if (body.kind === "renewed") this.renewed(body);
    if (body.kind === "ask") await this.#answer(body.op, body.question);
    if (body.kind !== "desired" && body.kind !== "apply") return;
    for (const workload of body.workloads) this.heard(workload);
    const observations = body.workloads.flatMap((workload) => this.#apply(workload));
    if (body.kind === "desired") {
      const wanted = new Set(body.workloads.filter(({ want }) => want === "running").map(({ id }) => id));
      for (const id of this.workloads.keys()) if (!wanted.has(id)) this.workloads.delete(id);
      if (body.last) await this.send({ kind: "settled", revision: body.revision });
    }
    if (observations.length > 0) await this.report(...observations);
  }

  async #answer(op: string, question: Question): Promise<void> {
    const data = this.answers(question);
    if (data === undefined) return;
    await this.send({ kind: "chunk", op, data });
    await this.send({ kind: "end", op, error: null });
  }

  #apply(workload: Workload): Observation[] {
    const known = this.workloads.get(workload.id);
    if (known && known.workload.generation > workload.generation) return [];
    if (workload.want === "gone") {
      this.workloads.delete(workload.id);
      return [{ phase: "gone", id: workload.id, generation: workload.generation, at: Date.now() }];
    }
    if (known?.workload.generation === workload.generation) return [known.observation];
    const observation = this.behaviour(workload);
    const seen: Observation = observation ?? {
      phase: "preparing",
      id: workload.id,
      generation: workload.generation,
      at: Date.now(),
      message: "",
    };
    this.workloads.set(workload.id, { workload, observation: seen });
    return observation ? [observation] : [];
  }
}

export const running = ({ id, generation }: Workload): Observation => ({
  phase: "running",
  id,
  generation,
  at: Date.now(),
  started_at: Date.now(),
  address: "127.0.0.1:20000",
  image_digest: null,
  notes: [],
});
