import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import { createParser } from "eventsource-parser";
import type { JournalEvent } from "../contract/event.ts";

export type Answer = { status: number; headers: IncomingHttpHeaders; text: string };
type Extra = { body?: unknown; headers?: Record<string, string> };

/** The API over kept connections and nothing else: no retries, so that what is timed is one request. */
export class Client {
  readonly url: string;
  readonly token: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  constructor(url: string, token: string) {
    this.url = url;
    this.token = token;
  }

  send(method: string, path: string, { body, headers = {} }: Extra = {}): Promise<Answer> {
    return new Promise((done, fail) => {
      const asked = this.#request(method, path, headers, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("error", fail);
        response.on("data", (part: string) => {
          text += part;
        });
        response.on("end", () => done({ status: response.statusCode ?? 0, headers: response.headers, text }));
      });
      asked.on("error", fail);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** The answer's body; throws on anything but a success. */
  async json<T>(method: string, path: string, extra: Extra = {}): Promise<T> {
    const { status, text } = await this.send(method, path, extra);
    if (status >= 300) throw new Error(`${method} ${path} answered ${status}: ${text.slice(0, 500)}`);
    return (text === "" ? null : JSON.parse(text)) as T;
  }

  /** Follows a resource's events from `after` on; resolves when the stream is open. */
  follow(
    path: string,
    after: number,
    heard: (event: JournalEvent, at: number) => void,
  ): Promise<{ close: () => void }> {
    return new Promise((done, fail) => {
      const parser = createParser({
        onEvent: ({ event, data }) => {
          if (event === undefined) heard(JSON.parse(data) as JournalEvent, performance.now());
        },
      });
      const headers = { accept: "text/event-stream" };
      const asked = this.#request("GET", `${path}?after=${after}`, headers, (response) => {
        if (response.statusCode !== 200) return fail(new Error(`${path} answered ${response.statusCode}`));
        response.setEncoding("utf8");
        response.on("error", () => {});
        done({ close: () => asked.destroy() });
        response.on("data", (text: string) => parser.feed(text));
      });
      asked.on("error", fail);
      asked.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #request(
    method: string,
    path: string,
    headers: Record<string, string>,
    answered: (response: IncomingMessage) => void,
  ) {
    const authorization = `Bearer ${this.token}`;
    const url = this.url + path;
    const all = { authorization, "content-type": "application/json", ...headers };
    return request(url, { method, headers: all, agent: this.#agent }, answered);
  }
}
