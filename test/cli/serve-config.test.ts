import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { COMPATIBILITY_DATE, OBJECTS, operatorVariables, serveConfig } from "../../cli/up/serve-config.ts";

const wrangler = readFileSync(join(import.meta.dirname, "../../wrangler.toml"), "utf8");

test("`up` and `wrangler deploy` run the same Worker: date, objects and their names", () => {
  expect(/^compatibility_date = "(.*)"$/m.exec(wrangler)?.[1]).toBe(COMPATIBILITY_DATE);
  const bindings = [...wrangler.matchAll(/\{ name = "(\w+)", class_name = "(\w+)" \}/g)].map(([, name, className]) => [
    name,
    className,
  ]);
  expect(bindings).toEqual(Object.entries(OBJECTS));
});

test("settings are quoted, and an IPv6 address is in brackets", () => {
  const text = serveConfig({
    modulePath: "index.js",
    stateDir: '/a "b"/state',
    host: "::1",
    port: 80,
    tokenHash: "00",
    variables: operatorVariables({ METRICS_PUBLIC: "true", CLIENT_ADDRESS_HEADER: "", PATH: "/bin" }),
    secretKeys: "k1:AA==",
  });
  expect(text).toContain('(name = "METRICS_PUBLIC", text = "true")');
  expect(text).not.toMatch(/CLIENT_ADDRESS_HEADER|PATH/);
  expect(text).toContain('disk = (path = "/a \\"b\\"/state", writable = true)');
  expect(text).toContain('address = "[::1]:80"');
});

test("webhooks leave by a network that reaches public addresses only, unless told otherwise", () => {
  const settings = {
    modulePath: "i.js",
    stateDir: "/s",
    host: "::1",
    port: 80,
    tokenHash: "00",
    secretKeys: "k1:AA==",
  };
  const strict = serveConfig(settings);
  expect(strict).toContain('(name = "egress", network = (allow = ["public"],');
  expect(strict).toContain('(name = "EGRESS", service = "egress")');
  expect(strict).toContain('(name = "WEBHOOK_TARGETS", text = "public")');
  const open = serveConfig({ ...settings, webhookTargets: "any" });
  expect(open).toContain('(name = "egress", network = (allow = ["public", "private"],');
  expect(open).toContain('(name = "WEBHOOK_TARGETS", text = "any")');
});
