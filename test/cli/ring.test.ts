// Ring's command lines, as its users type them: each is known here, with each of its flags.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { program } from "../../cli/run.ts";
import { Interrupt } from "../../cli/session.ts";
import { processTerminal } from "../../cli/terminal.ts";
import { freshEnv, lamplighter } from "./captured.ts";
import { json, problem, scriptedServer } from "./scripted-server.ts";

// biome-ignore format: a table
const COMMANDS: readonly (readonly [command: string, flags: string, args: number])[] = [
  ["apply", "-f --file -e --env-file -d --dry-run --force --verbose", 0],
  ["login", "-u --username -p --password", 0],
  ["logout", "", 0],
  ["doctor", "", 0],
  ["completions", "", 1],
  ["context configs", "", 0],
  ["context current-context", "", 0],
  ["context user-token", "", 0],
  ["deployment list", "-n --namespace -s --status --type -l --label -o --output", 0],
  ["deployment inspect", "-o --output", 1],
  ["deployment delete", "", 2],
  ["deployment logs", "-f --follow --tail --since -c --container", 1],
  ["deployment events", "-l --level --limit -f", 1],
  ["deployment metrics", "", 1],
  ["deployment health-checks", "--latest --limit -o", 1],
  ["namespace list", "", 0],
  ["namespace create", "", 1],
  ["namespace delete", "", 1],
  ["namespace prune", "-a --all", 1],
  ["namespace audit", "--limit", 1],
  ["node get", "", 0],
  ["config list", "-n", 0],
  ["config inspect", "", 1],
  ["config delete", "", 1],
  ["secret create", "-n -v --value", 1],
  ["secret list", "-n", 0],
  ["secret delete", "-f", 1],
  ["token create", "-s --scope -n --namespace -e --expires", 1],
  ["token list", "", 0],
  ["token revoke", "-y --yes", 1],
  ["token rotate", "", 1],
  ["user list", "", 0],
  ["user create", "-u -p", 0],
  ["user update", "-u -p", 0],
  ["user delete", "", 1],
  ["webhook create", "-e --event -s --secret", 1],
  ["webhook list", "", 0],
  ["webhook delete", "", 1],
  ["webhook inspect", "-f", 1],
];

const root = await program({
  env: {},
  terminal: processTerminal(),
  now: Date.now,
  readStdin: async () => "",
  prompt: null,
  interrupt: new Interrupt(),
});

const found = (path: string): Command | undefined =>
  path
    .split(" ")
    .reduce<Command | undefined>(
      (at, word) => at?.commands.find((one) => one.name() === word || one.aliases().includes(word)),
      root,
    );

test.each(COMMANDS)("ring %s %s", (path, flags, args) => {
  const command = found(path);
  const known = command?.options.flatMap(({ short, long }) => [short, long]) ?? [];
  expect(command ? flags.split(" ").filter((flag) => flag !== "" && !known.includes(flag)) : "no such command").toEqual(
    [],
  );
  const taken = command?.registeredArguments ?? [];
  const most = taken.some(({ variadic }) => variadic) ? Number.POSITIVE_INFINITY : taken.length;
  expect(args).toBeLessThanOrEqual(most);
  expect(args).toBeGreaterThanOrEqual(taken.filter(({ required }) => required).length);
});

const folder = mkdtempSync(join(tmpdir(), "lamplighter-ring-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

const MANIFEST = `
namespaces:
  any: { name: shop }
configs:
  files:
    namespace: shop
    name: files
    data: '{"greeting":"hello $WHO"}'
    files: { app.conf: conf/app.conf }
    labels: web
  kept:
    namespace: shop
    name: kept
    data: { run.sh: "echo $WHO" }
    interpolate: false
deployments:
  web:
    name: web
    namespace: shop
    image: nginx:alpine
    runtime: docker
    replicas: 2
`;

describe("a file of Ring's", () => {
  mkdirSync(join(folder, "conf"));
  writeFileSync(join(folder, "conf/app.conf"), "who=$WHO\n");
  const file = join(folder, "ring.yaml");
  writeFileSync(file, MANIFEST);

  /** A server that has the names in `taken` already, with this data. */
  async function served(taken: Record<string, string>, refused: readonly string[] = []) {
    const server = await scriptedServer(({ method, url, body }, response) => {
      const { pathname } = new URL(url, "http://x");
      const sent = body === "" ? {} : (JSON.parse(body) as { name: string; data: string });
      if (refused.includes(pathname)) return problem(response, 403, "insufficient_scope", "The token lacks a scope");
      if (method === "POST" && pathname === "/deployments")
        return json(response, 201, { id: "dep_1", ...sent, instances: [] }, { "lamplighter-action": "create" });
      if (method === "POST" && (sent as { name: string }).name in taken)
        return problem(response, 409, "name_taken", "Taken");
      if (method === "POST" || method === "PUT")
        return json(response, 201, { id: `id_${(sent as { name: string }).name}` });
      if (pathname === "/configs") {
        const names = new URL(url, "http://x").searchParams.getAll("name");
        return json(
          response,
          200,
          names.flatMap((name) => (name in taken ? [{ id: `cfg_${name}`, name, namespace: "shop" }] : [])),
        );
      }
      const name = pathname.split("/").at(-1)?.replace(/^cfg_/, "") ?? "";
      if (name in taken)
        return json(response, 200, { id: `cfg_${name}`, name, data: taken[name], labels: null, revision: 7 });
      return problem(response, 404, "not_found", "No such resource");
    });
    closing.push(server.close);
    return server;
  }
  const apply = (url: string, ...more: string[]) =>
    lamplighter(["apply", "-f", file, "--url", url, "--token", "t", ...more], { env: freshEnv({ WHO: "you" }) });
  const FILES = '{"greeting":"hello you","app.conf":"who=$WHO\\n"}';
  const KEPT = '{"run.sh":"echo $WHO"}';

  test("is applied in Ring's order: namespaces, configs, deployments", async () => {
    const server = await served({});
    const { code, out, err } = await apply(server.url);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toBe(
      "namespace shop created\nconfig shop/files created (id_files)\nconfig shop/kept created (id_kept)\ndeployment shop/web created (dep_1)\n",
    );
    const sent = server.seen.filter(({ method }) => method === "POST").map(({ url, body }) => [url, JSON.parse(body)]);
    expect(sent).toEqual([
      ["/namespaces", { name: "shop" }],
      ["/configs", { namespace: "shop", name: "files", data: FILES, labels: "web" }],
      ["/configs", { namespace: "shop", name: "kept", data: KEPT }],
      ["/deployments", expect.objectContaining({ name: "web", namespace: "shop", replicas: 2 })],
    ]);
  });

  test("leaves what is there, and puts anew what is another, but not what somebody has changed meanwhile", async () => {
    const server = await served({ shop: "", files: "{}", kept: KEPT });
    const { code, out } = await apply(server.url);
    expect(code).toBe(0);
    expect(out.split("\n").slice(0, 3)).toEqual([
      "namespace shop is there already",
      "config shop/files updated (cfg_files)",
      "config shop/kept unchanged (cfg_kept)",
    ]);
    const put = server.seen.filter(({ method }) => method === "PUT");
    expect(put.map(({ url, headers }) => [url, headers["if-match"]])).toEqual([["/configs/cfg_files", '"r7"']]);
    expect(JSON.parse(put[0]?.body ?? "")).toEqual({ name: "files", data: FILES, labels: "web" });
  });

  test("a dry run asks, says what would be done, and changes nothing", async () => {
    const server = await served({ files: "{}", kept: KEPT });
    const { out } = await lamplighter(["diff", "-f", file, "--url", server.url, "--token", "t"], {
      env: freshEnv({ WHO: "you" }),
    });
    expect(out).toContain(
      "namespace shop would be created\nconfig shop/files would be updated\nconfig shop/kept would stay as it is\n",
    );
    expect(server.seen.filter(({ method, url }) => method !== "GET" && !url.includes("dry_run=true"))).toEqual([]);
  });

  test("what fails is told, the rest is attempted, and the exit code is that of the first failure", async () => {
    const server = await served({}, ["/namespaces", "/configs"]);
    const { code, out, err } = await apply(server.url);
    expect(code).toBe(2);
    expect(out).toBe("deployment shop/web created (dep_1)\n");
    expect(err).toContain("cannot create namespace 'shop': The token lacks a scope (403)");
    expect(err).toContain("3 of 4 failed");
  });

  test("what is wrong with it is told with its place, all at once, before anything is sent", async () => {
    const server = await served({});
    const bad = join(folder, "bad.yaml");
    writeFileSync(
      bad,
      `namespaces:
  a: { name: "_" }
configs:
  twice: { name: a, data: '{"k":"v"}', files: { k: conf/app.conf } }
  none: { name: b }
  gone: { name: c, files: { k: conf/nothing } }
  text: { name: d, data: plain, files: { k: conf/app.conf } }
  again: { name: e, data: x, nmespace: shop, color: red }
deployments: {}
`,
    );
    const { code, err } = await lamplighter(["apply", "-f", bad, "--url", server.url, "--token", "t"]);
    expect(code).toBe(1);
    const told = (place: string, text: string) => expect(err).toContain(`bad.yaml:${place} ${text}`);
    told("2:14", "namespaces.a.name: expected");
    told("4:52", "configs.twice.files.k: the entry 'k' is in `data` too");
    told("5:9", "configs.none: expected `data`, or `files`, or both");
    told("6:32", `configs.gone.files.k: cannot read ${join(folder, "conf/nothing")}: no such file`);
    told("7:26", "configs.text.data: with `files`, expected a JSON object of entries");
    told("8:30", 'configs.again.nmespace: unknown field; did you mean "namespace"?');
    expect(err).not.toContain("color");
    expect(server.seen).toEqual([]);
  });

  test("with the context before the noun, and a file of contexts", async () => {
    const server = await scriptedServer((_seen, response) => json(response, 200, []));
    closing.push(server.close);
    const contexts = join(folder, "contexts.json");
    writeFileSync(
      contexts,
      JSON.stringify({ current: null, contexts: { prod: { url: server.url, token: "secret" } } }),
    );
    const { code } = await lamplighter(["--config", contexts, "-c", "prod", "deployment", "list"]);
    expect([code, server.seen[0]?.headers.authorization]).toEqual([0, "Bearer secret"]);
    expect((await lamplighter(["-c", "prod", "deployment", "list"])).err).toContain("context 'prod' not found");
  });
});
