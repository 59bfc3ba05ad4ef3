import { type AddressInfo, createServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { chooseTarget, readContexts, writeContexts } from "../../cli/contexts.ts";
import { freshEnv, lamplighter } from "./captured.ts";
import { type Handler, json, problem, scriptedServer } from "./scripted-server.ts";

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

const ID = "usr_01k9j4w7c3d5e8f2g6h9j1k4m7";
const user = (more: object = {}) => ({
  id: ID,
  username: "ada",
  role: "operator",
  status: "active",
  created_at: "2026-11-21T09:00:00Z",
  updated_at: null,
  login_at: null,
  revision: 1,
  ...more,
});
const loggedIn = { token: "lamp_session", token_type: "Bearer", expires_at: "2027-02-19T09:00:00Z", user: user() };

async function serve(handler: Handler) {
  const server = await scriptedServer(handler);
  closers.push(server.close);
  return { ...server, env: freshEnv() };
}

describe("login", () => {
  const takes: Handler = (one, response) =>
    one.url === "/login" ? json(response, 200, loggedIn) : void response.writeHead(204).end();

  test("keeps the session in a context of its own, and logout forgets it", async () => {
    const { env, url, seen } = await serve(takes);
    writeContexts(env, { current: "local", contexts: { local: { url, token: "lamp_root", by: "up" } } });
    const answer = await lamplighter(["login", "-u", "ada", "-p", "correct horse"], { env });
    const name = `ada@${new URL(url).host}`;
    expect(answer).toMatchObject({ code: 0, out: `logged in to ${url} as ada (operator), context ${name}\n` });
    expect(JSON.parse(seen[0]?.body ?? "")).toEqual({ username: "ada", password: "correct horse" });
    // What `up` keeps there is the root token.
    expect(readContexts(env)).toEqual({
      current: name,
      contexts: { local: { url, token: "lamp_root", by: "up" }, [name]: { url, token: "lamp_session", by: "login" } },
    });
    expect((await lamplighter(["context", "current-context"], { env })).out).toBe(`${name}\n`);
    expect((await lamplighter(["context", "user-token"], { env })).out).toBe("lamp_session\n");
    expect((await lamplighter(["context", "configs"], { env })).out).toContain(name);
    const out = await lamplighter(["logout"], { env });
    expect([out.code, out.err]).toEqual([0, "Now using context local.\n"]);
    expect(seen[1]).toMatchObject({ url: "/logout", headers: { authorization: "Bearer lamp_session" } });
    expect(readContexts(env).contexts).toEqual({ local: { url, token: "lamp_root", by: "up" } });
  });

  test("replaces the token of a context of the user's own, which stays at logout", async () => {
    const { env, url } = await serve(takes);
    await lamplighter(["context", "set", "prod", "--url", url, "--token", "lamp_old"], { env });
    await lamplighter(["login", "-u", "ada", "--password-stdin"], { env, stdin: "correct horse\n" });
    expect(readContexts(env).contexts).toEqual({ prod: { url, token: "lamp_session", by: "user" } });
    await lamplighter(["logout"], { env });
    expect(readContexts(env)).toEqual({ current: "prod", contexts: { prod: { url, token: null, by: "user" } } });
    expect(await lamplighter(["logout"], { env })).toMatchObject({ code: 2, err: "error: you are not logged in\n" });
    expect((await lamplighter(["context", "user-token"], { env })).code).toBe(2);
  });

  test("asks for what is missing, and shows the token to nobody", async () => {
    const { env, url, seen } = await serve(takes);
    const answer = await lamplighter(["login", "--url", url, "-o", "json"], { env, typed: ["ada", "correct horse"] });
    expect(answer.code).toBe(0);
    expect(answer.err).toBe("Username: Password: ");
    expect(answer.out + answer.err).not.toContain("lamp_session");
    expect(JSON.parse(seen[0]?.body ?? "")).toEqual({ username: "ada", password: "correct horse" });
    expect(chooseTarget({}, env)).toMatchObject({ url, token: "lamp_session" });
    expect((await lamplighter(["login", "--url", url], { env })).err).toBe("error: no username: give -u\n");
    expect((await lamplighter(["login", "--url", url, "-u", "ada"], { env })).err).toBe(
      "error: no password: give -p, or --password-stdin\n",
    );
  });

  test("that fails is told in one line, is tried once, and changes nothing", async () => {
    const { env, url, seen } = await serve((_one, response) =>
      seen.length > 1
        ? problem(response, 429, "too_many_attempts", "Too many attempts to log in", "The next one is taken in 4 s.")
        : problem(response, 401, "invalid_credentials", "Wrong username or password", "invalid credentials"),
    );
    const wrong = await lamplighter(["login", "--url", url, "-u", "ada", "-p", "wrong"], { env });
    expect(wrong.code).toBe(2);
    expect(wrong.err).toMatch(/^error: login failed: Wrong username or password \(401\): invalid credentials\n/);
    expect(wrong.err).not.toContain("lamplighter login");
    const early = await lamplighter(["login", "--url", url, "-u", "ada", "-p", "wrong"], { env });
    expect([early.code, early.err]).toEqual([
      1,
      expect.stringMatching(
        /^error: login failed: Too many attempts to log in \(429\): The next one is taken in 4 s\.\n/,
      ),
    ]);
    expect(seen).toHaveLength(2);
    expect(readContexts(env).contexts).toEqual({});
  });

  test("a session that had ended is forgotten all the same", async () => {
    const { env, url } = await serve((_one, response) => problem(response, 401, "unauthenticated", "No valid token"));
    await lamplighter(["context", "set", "prod", "--url", url, "--token", "lamp_old"], { env });
    expect(await lamplighter(["logout"], { env })).toMatchObject({
      code: 0,
      out: "the session had ended already; its token is forgotten\n",
    });
    expect(readContexts(env).contexts.prod?.token).toBeNull();
  });
});

describe("user", () => {
  const respond =
    (list: object[]): Handler =>
    (one, response) => {
      if (one.method === "GET") return json(response, 200, one.url === "/users/me" ? user() : list);
      if (one.method === "DELETE") return void response.writeHead(204).end();
      json(response, one.method === "POST" ? 201 : 200, user(JSON.parse(one.body)));
    };
  const as = (url: string, env: Record<string, string>) => ({
    ...env,
    LAMPLIGHTER_URL: url,
    LAMPLIGHTER_TOKEN: "lamp_x",
  });

  test("create makes the first one an admin, and the others viewers", async () => {
    for (const [list, role] of [
      [[], "admin"],
      [[user()], "viewer"],
    ] as const) {
      const { env, url, seen } = await serve(respond([...list]));
      const answer = await lamplighter(["user", "create", "ada", "-p", "correct horse"], { env: as(url, env) });
      expect(answer.out).toBe(`user 'ada' created, ${role} (id: ${ID})\n`);
      expect(JSON.parse(seen.at(-1)?.body ?? "")).toEqual({ username: "ada", password: "correct horse", role });
    }
  });

  test("create takes Ring's flags, and asks twice for what is typed", async () => {
    const { env, url, seen } = await serve(respond([user()]));
    await lamplighter(["user", "create", "-u", "ada", "--role", "operator"], {
      env: as(url, env),
      typed: ["correct horse", "correct horse"],
    });
    expect(JSON.parse(seen.at(-1)?.body ?? "")).toMatchObject({ username: "ada", role: "operator" });
    const answer = await lamplighter(["user", "create", "ada", "--role", "viewer"], {
      env: as(url, env),
      typed: ["correct horse", "another horse"],
    });
    expect([answer.code, answer.err]).toEqual([1, expect.stringContaining("the two passwords are not the same")]);
    expect((await lamplighter(["user", "create", "ada", "--role", "root"], { env: as(url, env) })).code).toBe(1);
  });

  test("update is for oneself, unless somebody is named", async () => {
    const { env, url, seen } = await serve(respond([user({ id: ID.replace("7", "8"), username: "bob" })]));
    expect((await lamplighter(["user", "update", "-u", "ada.l"], { env: as(url, env) })).code).toBe(0);
    expect(seen.at(-1)).toMatchObject({ method: "PUT", url: `/users/${ID}`, body: '{"username":"ada.l"}' });
    await lamplighter(["user", "update", "bob", "--role", "viewer"], { env: as(url, env) });
    expect(seen.at(-1)).toMatchObject({ url: `/users/${ID.replace("7", "8")}`, body: '{"role":"viewer"}' });
    await lamplighter(["user", "update", "-p"], { env: as(url, env), typed: ["another horse", "another horse"] });
    expect(JSON.parse(seen.at(-1)?.body ?? "")).toEqual({ password: "another horse" });
    expect((await lamplighter(["user", "update"], { env: as(url, env) })).err).toContain("nothing to change");
  });

  test("list and delete", async () => {
    const { env, url, seen } = await serve(respond([user()]));
    const list = await lamplighter(["user", "list"], { env: as(url, env), now: Date.parse("2026-11-22T09:00:00Z") });
    expect(list.out).toMatch(/USERNAME +ROLE +LAST LOGIN +AGE\n.*ada +operator +never +(24h|1d)/);
    expect((await lamplighter(["user", "delete", "ada"], { env: as(url, env) })).out).toBe("user ada deleted\n");
    expect(seen.at(-1)).toMatchObject({ method: "DELETE", url: `/users/${ID}` });
    expect((await lamplighter(["user", "delete", "nobody"], { env: as(url, env) })).code).toBe(4);
  });

  test("the last admin is a conflict", async () => {
    const { env, url } = await serve((_one, response) =>
      problem(response, 409, "last_admin", "The last admin stays", "Cannot delete the last admin"),
    );
    expect((await lamplighter(["user", "delete", ID], { env: as(url, env) })).code).toBe(5);
  });
});

test("node get shows a machine", async () => {
  const node = {
    ...{ hostname: "box", os: "Debian", arch: "x86_64", uptime: "7s", cpu_count: 4 },
    ...{ memory_total: 8, memory_available: 4, load_average: [0, 0.5, 1], host_id: "host_x", host_name: "lamp" },
  };
  const { env, url, seen } = await serve((_one, response) => json(response, 200, node));
  const answer = await lamplighter(["node", "get", "--url", url], { env });
  expect(answer.out).toMatch(/Hostname +box\nHost +lamp \(host_x\)\nOS +Debian\n/);
  expect(seen[0]?.url).toBe("/node/get");
});

describe("doctor", () => {
  const answers =
    (hosts: object[], keepers: object = nobody, gateway: string | null = null): Handler =>
    (one, response) => {
      if (one.url === "/healthz") return json(response, 200, { state: "UP" });
      if (one.headers.authorization !== "Bearer lamp_x")
        return problem(response, 401, "unauthenticated", "No valid token");
      if (one.url === "/whoami")
        return json(response, 200, { token_id: "t", name: "ci", scopes: ["admin"], namespaces: [] });
      if (one.url === "/keepers") return json(response, 200, keepers);
      if (one.url === "/gateway") return json(response, 200, { address: gateway });
      json(response, 200, hosts);
    };
  const nobody = { setting_error: null, asked_host: null, keepers: [] };
  const host = (status: string) => ({
    ...{
      name: "lamp",
      status,
      scheduling: "open",
      message: "silent",
      runtimes: [{ runtime: "process", version: "1" }],
    },
  });

  test("is content when everything is well", async () => {
    const { env, url } = await serve(answers([host("ready")]));
    const answer = await lamplighter(["doctor", "--url", url, "--token", "lamp_x"], { env });
    expect(answer.code).toBe(0);
    expect(answer.out).toMatch(/\[\+\] the token is good: ci, admin, all namespaces\n/);
    expect(answer.out).toMatch(/\[\+\] lamp is ready: process\n/);
    expect(answer.out).toMatch(/This machine\n {2}\[\+\] process\n/);
  });

  test.each([
    ["no token", [], null, /\[-\] there is no token/],
    ["a token that has ended", [], "lamp_old", /\[-\] token: No valid token/],
    ["no host", [], "lamp_x", /\[-\] no host has joined/],
    ["a silent host", [host("lost")], "lamp_x", /\[-\] lamp is lost: silent/],
  ])("tells of %s, and exits 1", async (_what, hosts, token, line) => {
    const { env, url } = await serve(answers(hosts));
    const flags = ["--url", url, ...(token === null ? [] : ["--token", token])];
    const answer = await lamplighter(["doctor", ...flags], { env });
    expect([answer.code, answer.out]).toEqual([1, expect.stringMatching(line)]);
  });

  test("asks the hosts whether the keepers answer, and the gateway itself", async () => {
    const gateway = createServer((socket) => socket.once("data", () => socket.end("S")));
    await new Promise<void>((done) => gateway.listen(0, "127.0.0.1", done));
    const address = `127.0.0.1:${(gateway.address() as AddressInfo).port}`;
    const keeper = (name: string, well: boolean | null, message: string) => ({
      ...{ name, url: "https://10.0.0.6:7431", answers: well, message },
    });
    const keepers = [
      keeper("a", true, "it answers"),
      keeper("b", false, "another certificate"),
      keeper("c", null, "?"),
    ];
    const { env, url } = await serve(answers([host("ready")], { ...nobody, keepers }, address));
    const ask = () => lamplighter(["doctor", "--url", url, "--token", "lamp_x"], { env });
    const bad = await ask();
    expect([bad.code, bad.err]).toEqual([1, expect.stringContaining("1 check failed")]);
    for (const line of [
      "[+] keeper a at https://10.0.0.6:7431: it answers",
      "[-] keeper b at https://10.0.0.6:7431: another certificate",
      "[ ] keeper c at https://10.0.0.6:7431: ?",
      `[+] gateway at ${address}: it answers`,
    ])
      expect(bad.out).toContain(line);
    await new Promise((done) => gateway.close(done));
    expect((await ask()).out).toContain(`[-] gateway at ${address}: connect ECONNREFUSED`);
  });

  test("tells when nobody answers", async () => {
    const { env, url, close } = await serve(() => {});
    close();
    const answer = await lamplighter(["doctor", "--url", url, "--token", "lamp_x"], { env });
    expect([answer.code, answer.out]).toEqual([1, expect.stringContaining("connection refused")]);
  });
});
