// The proxy of a host's instances gives up root's rights, also where its installation is closed to everybody else.

import { spawn } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { firstAccountOf } from "../../agent/process/account.ts";
import { freePort } from "../free-port.ts";
import { requires } from "../requires.ts";
import { engine, ID, SECRET } from "./instance-proxy-site.ts";

const root = await requires("root");
const PROJECT = join(import.meta.dirname, "..", "..");
const PARTS = ["package.json", "contract", "agent/instance-proxy", "node_modules/undici", "node_modules/zod"];

test.skipIf(!root.available)("it answers as another user, from where that user cannot read", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lamplighter-rights-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const closed = join(folder, "closed");
  mkdirSync(closed, { mode: 0o700 });
  for (const part of PARTS) cpSync(join(PROJECT, part), join(closed, part), { recursive: true });
  chmodSync(closed, 0o700);
  const account = await firstAccountOf(["nobody"]);
  const control = join(folder, "control.sock");
  const port = await freePort();
  const main = join(closed, "agent", "instance-proxy", "main.ts");
  const user = `${account?.uid}:${account?.gid}`;
  const args = [main, "--control", control, "--port", String(port), "--user", user];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const socket = await new Promise<ReturnType<typeof connect>>((done) => {
    const dial = () => {
      const one = connect(control);
      one.once("error", () => setTimeout(dial, 20));
      one.once("data", () => done(one));
    };
    dial();
  });
  onTestFinished(() => void socket.destroy());
  const { target } = await engine((_request, response) => response.end("[]"));
  const closedWith = { code: "paused", detail: "paused", retry_after_s: 60, soon: false };
  const route = { instance_id: ID, key_secret: SECRET, keys: [], loading: null, wakes: false, tells: false };
  const message = { kind: "routes", seq: 1, routes: [{ ...route, target, closed: closedWith }] };
  socket.write(`${JSON.stringify(message)}\n`);
  await new Promise((done) => socket.once("data", done));
  const answer = await fetch(`http://127.0.0.1:${port}/${ID}/query`, {
    ...{ method: "POST", body: "users { id }", signal: AbortSignal.timeout(5_000) },
  });
  expect([answer.status, await answer.text()]).toEqual([200, "[]"]);
});
