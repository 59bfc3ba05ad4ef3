import { afterEach, describe, expect, test } from "vitest";
import { Interrupt } from "../../cli/session.ts";
import { freshEnv, lamplighter } from "./captured.ts";
import { type Handler, json, problem, type Seen, scriptedServer } from "./scripted-server.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function serve(handler: Handler) {
  const server = await scriptedServer(handler);
  closers.push(server.close);
  return { ...server, env: freshEnv({ LAMPLIGHTER_URL: server.url, LAMPLIGHTER_TOKEN: "lamp_x" }) };
}

const ID = "dep_01m7yqnzfte3sgj7encys0py57";
const view = (more: object = {}) => ({
  ...{ id: ID, name: "web", namespace: "default", status: "running", message: "", revision: 1, event_cursor: 1 },
  ...{
    kind: "worker",
    replicas: 0,
    instances: [],
    created_at: "2026-11-21T09:00:00Z",
    restart_count: 0,
    runtime: "docker",
  },
  ...{ image: "nginx", command: [] },
  ...more,
});

describe("the exit code says what kind of trouble it was", () => {
  test.each([
    [401, "unauthenticated", 2],
    [403, "insufficient_scope", 2],
    [404, "not_found", 4],
    [409, "action_not_allowed", 5],
    [412, "precondition_failed", 5],
    [422, "validation_failed", 1],
    [500, "internal", 1],
  ])("%i %s", async (status, code, exit) => {
    const { env } = await serve((_seen, response) => problem(response, status, code, "Some title", "Some detail."));
    const answer = await lamplighter(["host", "list"], { env });
    expect(answer.code).toBe(exit);
    expect(answer.err).toMatch(new RegExp(`^error: Some title \\(${status}\\): Some detail\\.\\n`));
    expect(answer.out).toBe("");
  });

  test("3 when nobody answers, in one line and at once", async () => {
    const { url, close } = await scriptedServer(() => {});
    close();
    const started = Date.now();
    const answer = await lamplighter(["deployment", "list", "--url", url]);
    expect(answer.code).toBe(3);
    expect(answer.err).toMatch(new RegExp(`^error: cannot reach the server at ${url}: connection refused\n`));
    expect(Date.now() - started).toBeLessThan(2000);
  });

  test("1 for a wrong command line", async () => {
    expect(await lamplighter(["deployment", "lst"])).toMatchObject({
      code: 1,
      err: expect.stringContaining("unknown command 'lst'"),
    });
    expect((await lamplighter(["deployment", "list", "-s", "runing"])).err).toContain("unknown status 'runing'");
    expect(await lamplighter(["--help"])).toMatchObject({ code: 0, err: "" });
  });

  test("130 after Ctrl-C, with what goes on", async () => {
    const interrupt = new Interrupt();
    const { env } = await serve((seen, response) => {
      if (seen.method === "POST") return json(response, 201, view({ status: "creating" }));
      interrupt.controller.abort("SIGINT");
    });
    const answer = await lamplighter(["apply", "-f", "-", "--wait"], {
      env,
      interrupt,
      stdin: "name: web\nimage: nginx\n",
    });
    expect(answer.code).toBe(130);
    expect(answer.err).toMatch(/Interrupted\. What was applied goes on in the background/);
  });

  test("the command's own after exec", async () => {
    const { env } = await serve((_seen, response) =>
      json(response, 200, { exit_code: 7, stdout: "o", stderr: "e", truncated: false }),
    );
    expect(await lamplighter(["deployment", "exec", ID, "--", "ls", "-l"], { env })).toEqual({
      code: 7,
      out: "o",
      err: "e",
    });
  });
});

describe("what is sent", () => {
  test("a proxy's page is told by its status", async () => {
    const { env } = await serve((_seen, response) => json(response, 418, "<html>teapot</html>"));
    expect((await lamplighter(["host", "list"], { env })).err).toBe("error: the server answered 418 (418)\n");
  });

  test("every violation is a bullet, and in a file it has its place", async () => {
    const { env } = await serve((_seen, response) =>
      problem(response, 422, "validation_failed", "Validation failed", "2 violations", {
        violations: [
          { property_path: "image", message: "not allowed here", code: "x" },
          { property_path: "", message: "too many deployments", code: "y" },
        ],
      }),
    );
    const answer = await lamplighter(["apply", "-f", "-"], { env, stdin: "name: web\nimage: nginx\n" });
    expect(answer).toEqual({
      code: 1,
      out: "",
      err: "error: cannot apply deployment 'default/web': Validation failed (422): 2 violations\n  * <stdin>:2:8 image: not allowed here\n  * <stdin>:1:1: too many deployments\n",
    });
  });

  test("an apply whose answer was lost is repeated with the same key", async () => {
    let count = 0;
    const { env, seen } = await serve((one, response) => {
      if (one.method === "POST" && ++count < 3) return void response.destroy();
      json(response, 201, view());
    });
    const answer = await lamplighter(["apply", "-f", "-"], { env, stdin: "name: web\nimage: nginx\n" });
    expect(answer).toMatchObject({ code: 0, out: `deployment default/web created (${ID})\n` });
    const keys = seen.map((one) => one.headers["idempotency-key"]);
    expect(keys).toHaveLength(3);
    expect(keys[0]).toMatch(/./);
    expect(new Set(keys).size).toBe(1);
    expect(new Set(seen.map((one) => one.body)).size).toBe(1);
  });

  test("too busy is asked again; a real refusal is not", async () => {
    let count = 0;
    const { env, seen } = await serve((_one, response) =>
      ++count < 2 ? problem(response, 503, "overloaded", "Too busy") : problem(response, 409, "name_taken", "Taken"),
    );
    expect((await lamplighter(["host", "cordon", "host_01m7yqnzfte3sgj7encys0py57"], { env })).code).toBe(5);
    expect(seen).toHaveLength(2);
  });

  test("exec is never sent twice", async () => {
    const { env, seen } = await serve((_one, response) => void response.destroy());
    expect((await lamplighter(["deployment", "exec", ID, "--", "ls"], { env })).code).toBe(3);
    expect(seen).toHaveLength(1);
  });

  test("nothing at all when one document of many is wrong", async () => {
    const { env, seen } = await serve((_one, response) => json(response, 201, view()));
    const answer = await lamplighter(["apply", "-f", "-"], { env, stdin: "name: a\nimage: x\n---\nname: b\n" });
    expect(answer.err).toBe(
      "error: 1 problem in <stdin>; nothing was applied\n  * <stdin>:4:1 image: the docker runtime needs an image\n",
    );
    expect(seen).toEqual([]);
  });

  test("nothing but questions when the server alone knows that one of many is wrong", async () => {
    const { env, seen } = await serve((one, response) =>
      one.body.includes('"b"')
        ? problem(response, 403, "namespace_not_permitted", "Not for you")
        : json(response, 200, { dry_run: true, action: "create" }),
    );
    const answer = await lamplighter(["apply", "-f", "-"], {
      env,
      stdin: "name: a\nimage: x\n---\nname: b\nimage: x\n",
    });
    expect(answer.code).toBe(2);
    expect(seen.map((one) => one.url)).toEqual(["/deployments?dry_run=true", "/deployments?dry_run=true"]);
  });
});

describe("lists", () => {
  const rows = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => `{"id":"${from + i}",  "odd":1.0}`);

  test("json is the server's body as it came", async () => {
    const body = `[${rows(1, 2).join(",\n ")}]`;
    const { env } = await serve((_one, response) => json(response, 200, body));
    expect((await lamplighter(["deployment", "list", "-o", "json"], { env })).out).toBe(`${body}\n`);
  });

  test("pages are followed to the end, filters repeated", async () => {
    const { env, seen } = await serve((one, response) => {
      const second = one.url.includes("cursor=c%2F1");
      json(
        response,
        200,
        `[${rows(second ? 3 : 1, 2).join(",")}]`,
        second ? {} : { link: '</v1/deployments?limit=1000&cursor=c%2F1>; rel="next"' },
      );
    });
    const answer = await lamplighter(
      ["deployment", "list", "-s", "failed", "-s", "running", "-n", "a", "-l", "k=v", "-o", "json"],
      { env },
    );
    expect(answer.out).toBe(`[${rows(1, 4).join(",")}]\n`);
    expect(seen[0]?.url).toBe("/deployments?status=failed&status=running&namespace=a&label=k%3Dv&limit=1000");
    expect(seen[1]?.url).toContain("&cursor=c%2F1");
  });
});

describe("names", () => {
  const all = [
    view({ id: `dep_${"a".repeat(26)}`, name: "web", namespace: "prod" }),
    view({ id: `dep_${"b".repeat(26)}`, name: "web", namespace: "test" }),
    view({ id: `dep_${"c".repeat(26)}`, name: "mail" }),
    view({ id: `dep_${"d".repeat(26)}`, name: "mail", status: "deleted" }),
  ];
  const listing: Handler = (one, response) => {
    const namespace = new URL(one.url, "http://x").searchParams.get("namespace");
    if (one.url.startsWith("/deployments?"))
      return json(
        response,
        200,
        all.filter((row) => namespace === null || row.namespace === namespace),
      );
    json(response, 200, []);
  };
  const asked = (seen: Seen[]) => seen.at(-1)?.url;

  test.each([
    ["mail", "c"],
    ["prod/web", "a"],
    ["dep_bbbbbb", "b"],
    ["cccccccc", "c"],
    [`dep_${"e".repeat(26)}`, "e"],
  ])("%s", async (reference, letter) => {
    const { env, seen } = await serve(listing);
    expect((await lamplighter(["deployment", "events", reference], { env })).code).toBe(0);
    expect(asked(seen)).toBe(`/deployments/dep_${letter.repeat(26)}/events?limit=50`);
  });

  test("two of the same name are told apart for the user", async () => {
    const { env } = await serve(listing);
    const answer = await lamplighter(["deployment", "inspect", "web"], { env });
    expect(answer.code).toBe(1);
    expect(answer.err).toBe(
      `error: 'web' names 2 deployments\n  * prod/web  dep_${"a".repeat(26)}\n  * test/web  dep_${"b".repeat(26)}\nGive namespace/name, or the id.\n`,
    );
  });

  test("no such name is 4", async () => {
    const { env } = await serve(listing);
    expect(await lamplighter(["deployment", "inspect", "nobody"], { env })).toEqual({
      code: 4,
      out: "",
      err: "error: deployment 'nobody' not found\n",
    });
  });

  test("of several to delete, the others still are when one is not there", async () => {
    const { env, seen } = await serve((one, response) =>
      one.method === "DELETE" ? void response.writeHead(204).end() : listing(one, response),
    );
    const answer = await lamplighter(["deployment", "delete", "nobody", "mail"], { env });
    expect(answer).toMatchObject({ code: 4, out: "deployment mail deleted\n" });
    expect(seen.at(-1)).toMatchObject({ method: "DELETE", url: `/deployments/dep_${"c".repeat(26)}` });
  });
});

describe("streams go on where they were cut", () => {
  const event = (seq: number) => ({
    id: `${ID}:${seq}`,
    seq,
    timestamp: "2026-11-21T09:00:00Z",
    level: "info",
    component: "api",
    reason: `r${seq}`,
    message: "m",
  });
  const sse = (seq: number) => `id: ${seq}\ndata: ${JSON.stringify(event(seq))}\n\n`;

  test("events, by Last-Event-ID", async () => {
    const streams: (string | undefined)[] = [];
    const { env } = await serve((one, response) => {
      if (one.headers.accept !== "text/event-stream") return json(response, 200, [event(2), event(1)]);
      streams.push(one.headers["last-event-id"] as string);
      if (streams.length === 3) return problem(response, 404, "not_found", "Gone");
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(`: comment\n\n${sse(streams.length + 2)}`);
      setTimeout(() => response.destroy(), 30);
    });
    const answer = await lamplighter(["deployment", "events", ID, "-f"], { env });
    expect(answer.out.match(/r\d/g)).toEqual(["r1", "r2", "r3", "r4"]);
    expect(streams).toEqual(["2", "3", "4"]);
    expect(answer.code).toBe(0);
  });

  test("logs, by time, with no line twice", async () => {
    const line = (second: number, message: string) =>
      JSON.stringify({
        instance: `${ID}-0-g1`,
        stream: "stdout",
        message,
        level: "info",
        timestamp: `2026-11-21T09:00:0${second}Z`,
      });
    const since: (string | null)[] = [];
    const { env } = await serve((one, response) => {
      since.push(new URL(one.url, "http://x").searchParams.get("since"));
      response.writeHead(200, { "content-type": "text/event-stream" });
      if (since.length > 1)
        return void response.end(
          `data: ${line(2, "b")}\n\ndata: ${line(2, "c")}\n\ndata: ${line(3, "d")}\n\nevent: end\ndata: {"reason":"ended"}\n\n`,
        );
      response.write(`data: ${line(1, "a")}\n\ndata: ${line(2, "b")}\n\n`);
      setTimeout(() => response.destroy(), 30);
    });
    const answer = await lamplighter(["deployment", "logs", ID, "-f"], { env });
    expect(
      answer.out
        .trim()
        .split("\n")
        .map((one) => one.slice(-5)),
    ).toEqual(["-g1 a", "-g1 b", "-g1 c", "-g1 d"].map((text) => text.slice(-5)));
    expect(since).toEqual([null, "2026-11-21T09:00:02Z"]);
  });
});
