// Makes a bare clone ready, then runs a program of it under the Node that package-lock.json pins:
//   node bootstrap.mjs cli/main.ts demo        a script of this repository
//   node bootstrap.mjs wrangler dev            a tool from node_modules/.bin
// It runs before anything is installed, on any Node from 18 on, so it is plain JavaScript with no dependencies.
import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL(".", import.meta.url));
const bin = join(root, "node_modules", ".bin");
const lockFile = join(root, ".install.lock");
const [program, ...args] = process.argv.slice(2);

if (program === undefined) fail("usage: node bootstrap.mjs SCRIPT|TOOL [ARGUMENT…]");
await install();
const isScript = /\.[mc]?[jt]s$/.test(program);
const [command, rest] = isScript ? [pinnedNode(), [resolve(root, program), ...args]] : [join(bin, program), args];
if (!isScript && !existsSync(command)) fail(`no tool named ${program} in node_modules/.bin`);
await leaveAs(await run(command, rest, "inherit"));

async function install() {
  if (isInstalled()) return;
  const release = await takeLock();
  try {
    if (isInstalled()) return;
    const started = Date.now();
    const count = Object.keys(read("package-lock.json").packages).length;
    process.stderr.write(`Installing up to ${count} packages from package-lock.json (about 20 s, once) …`);
    // --include: NODE_ENV=production or the user's own npm settings must not leave out the tools or Node itself.
    const ended = await run(
      process.platform === "win32" ? "npm.cmd" : "npm",
      ["ci", "--no-audit", "--no-fund", "--loglevel=error", "--include=dev", "--include=optional"],
      ["ignore", "ignore", "inherit"],
    );
    process.stderr.write(` ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
    if (ended.signal !== null || ended.code !== 0) {
      release();
      // npm answers a Ctrl-C with an exit code of its own.
      const signal = ended.signal ?? ended.received;
      if (signal === null) process.stderr.write("npm ci failed; its message is above\n");
      await leaveAs({ code: ended.code, signal });
    }
  } finally {
    release();
  }
}

/** True when node_modules is what package-lock.json asks for on this platform. npm writes its own record last. */
function isInstalled() {
  const record = read("node_modules/.package-lock.json");
  if (record === undefined) return false;
  const wanted = read("package-lock.json").packages;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === "") continue;
    const found = record.packages[path];
    if (found === undefined && !entry.optional && !entry.devOptional) return false;
    if (found !== undefined && (found.version !== entry.version || found.integrity !== entry.integrity)) return false;
    // A tree brought over from another platform lacks this platform's Node.
    if (isNodeForThisPlatform(path) && !existsSync(join(root, path, "bin", "node"))) return false;
  }
  return Object.keys(record.packages).every((path) => path in wanted);
}

function isNodeForThisPlatform(path) {
  return [
    `node_modules/node-${process.platform}-${process.arch}`,
    `node_modules/node-bin-${process.platform}-${process.arch}`,
  ].includes(path);
}

function pinnedNode() {
  const pinned = join(bin, "node");
  if (existsSync(pinned)) return pinned;
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 22 || (major === 22 && minor >= 18)) return process.execPath;
  return fail(
    `there is no pinned Node for ${process.platform}-${process.arch}: run this with Node 22.18 or newer (this is ${process.version})`,
  );
}

/** One installer at a time. The holder touches the file, so a lock left by a killed one is seen as dead. */
async function takeLock() {
  for (let told = false; ; told = true) {
    try {
      writeFileSync(lockFile, String(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (isAbandoned()) rmSync(lockFile, { force: true });
    else if (!told) process.stderr.write("Waiting for another installation in this folder …\n");
    await new Promise((done) => setTimeout(done, 200));
  }
  const touch = setInterval(() => utimesSync(lockFile, new Date(), new Date()), 1000);
  return () => {
    clearInterval(touch);
    rmSync(lockFile, { force: true });
  };
}

function isAbandoned() {
  try {
    if (Date.now() - statSync(lockFile).mtimeMs > 10_000) return true;
    process.kill(Number(readFileSync(lockFile, "utf8")), 0);
    return false;
  } catch (error) {
    return error.code === "ESRCH";
  }
}

function run(command, rest, stdio) {
  return new Promise((done) => {
    const PATH = bin + delimiter + (process.env.PATH ?? "");
    const child = spawn(command, rest, {
      cwd: stdio === "inherit" ? undefined : root,
      env: { ...process.env, PATH },
      stdio,
    });
    // A terminal sends Ctrl-C and its own closing to the child as well; passing them on would deliver them twice.
    const terminal = hasTerminal();
    let received = null;
    const handlers = ["SIGINT", "SIGHUP", "SIGTERM", "SIGQUIT"].map((signal) => {
      const pass = signal === "SIGTERM" || !terminal;
      const handler = () => {
        received = signal;
        if (pass) child.kill(signal);
      };
      process.on(signal, handler);
      return [signal, handler];
    });
    const end = (ended) => {
      for (const [signal, handler] of handlers) process.off(signal, handler);
      done(ended);
    };
    child.on("error", (error) => {
      process.stderr.write(`cannot run ${command}: ${error.message}\n`);
      end({ code: 127, signal: null, received });
    });
    child.on("exit", (code, signal) => end({ code, signal, received }));
  });
}

function hasTerminal() {
  try {
    closeSync(openSync("/dev/tty", "r"));
    return true;
  } catch {
    return false;
  }
}

/** Ends this process as the child ended: with its exit code, or by the same signal. */
function leaveAs({ code, signal }) {
  if (signal === null) process.exit(code);
  process.kill(process.pid, signal);
  // Reached only when this process ignores the signal (inherited from nohup, say): then the shell's number for it.
  return new Promise(() => setTimeout(() => process.exit(128 + constants.signals[signal]), 100));
}

function read(path) {
  try {
    return JSON.parse(readFileSync(join(root, path), "utf8"));
  } catch {
    return undefined;
  }
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
