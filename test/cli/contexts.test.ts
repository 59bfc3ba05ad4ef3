import { readFileSync, statSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { chooseTarget, contextFilePath } from "../../cli/contexts.ts";
import { freshEnv, lamplighter } from "./captured.ts";

async function withContexts(more: Record<string, string> = {}) {
  const env = freshEnv(more);
  await lamplighter(["context", "set", "prod", "--url", "https://lamps.example.com/", "--token", "lamp_prod"], { env });
  await lamplighter(["context", "set", "home", "--url", "127.0.0.1:9000", "--token", "lamp_home"], { env });
  return env;
}

test("contexts are made, listed, chosen and removed", async () => {
  const env = await withContexts();
  expect((await lamplighter(["context", "list"], { env })).out).toBe(
    "   NAME  URL                        TOKEN\n*  prod  https://lamps.example.com  set\n   home  http://127.0.0.1:9000      set\n",
  );
  expect((await lamplighter(["context", "use", "home"], { env })).out).toBe("now using home\n");
  expect(chooseTarget({}, env)).toMatchObject({
    url: "http://127.0.0.1:9000",
    token: "lamp_home",
    from: "context home",
  });
  expect(await lamplighter(["context", "use", "nobody"], { env })).toMatchObject({
    code: 4,
    err: expect.stringContaining("Known: prod, home."),
  });
  await lamplighter(["context", "remove", "home"], { env });
  expect(chooseTarget({}, env)).toMatchObject({ url: "http://127.0.0.1:8787", token: null, from: "default" });
});

test("the file is its owner's alone, and tokens are not shown", async () => {
  const env = await withContexts();
  const path = contextFilePath(env);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  for (const format of ["table", "json", "yaml"]) {
    for (const verb of ["list", "show"])
      expect((await lamplighter(["context", verb, "-o", format], { env })).out).not.toContain("lamp_");
  }
});

test("flags win over a named context, that over the environment, that over the current context", async () => {
  const env = await withContexts({ LAMPLIGHTER_URL: "http://env:1", LAMPLIGHTER_TOKEN: "lamp_env" });
  expect(chooseTarget({}, env)).toMatchObject({ url: "http://env:1", token: "lamp_env" });
  expect(chooseTarget({ context: "home" }, env)).toMatchObject({ url: "http://127.0.0.1:9000", token: "lamp_home" });
  expect(chooseTarget({ url: "http://flag:2", token: "lamp_flag" }, env)).toMatchObject({
    url: "http://flag:2",
    token: "lamp_flag",
  });
});

test("a context's token never goes to another server", async () => {
  const env = await withContexts();
  expect(chooseTarget({ url: "http://elsewhere" }, env).token).toBeNull();
  expect(chooseTarget({ context: "home", url: "http://elsewhere" }, env).token).toBeNull();
  expect(chooseTarget({}, { ...env, LAMPLIGHTER_URL: "http://elsewhere" }).token).toBeNull();
  expect(chooseTarget({ url: "https://lamps.example.com" }, env).token).toBe("lamp_prod");
  await lamplighter(["context", "set", "prod", "--url", "https://moved.example.com"], { env });
  expect(chooseTarget({ context: "prod" }, env)).toMatchObject({ url: "https://moved.example.com", token: null });
});

test("a damaged file is told, and not overwritten", async () => {
  const env = await withContexts();
  writeFileSync(contextFilePath(env), "{ half");
  const answer = await lamplighter(["context", "set", "x", "--url", "http://x"], { env });
  expect(answer).toMatchObject({ code: 1, err: expect.stringContaining("cannot read the context file") });
  expect(readFileSync(contextFilePath(env), "utf8")).toBe("{ half");
});

test("what is no URL is refused", async () => {
  expect((await lamplighter(["context", "set", "x", "--url", "ftp://x"])).err).toContain(
    "'ftp://x' is not the URL of a server",
  );
});
