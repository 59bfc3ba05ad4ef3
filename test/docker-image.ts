// The image that every test on a container engine runs: busybox, from the machine itself, so that no registry is
// needed. Also a program: `node test/docker-image.ts` makes the image and prints its name.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { arch, tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import { requires } from "./requires.ts";

export const testImage = "lamplighter/busybox:1";

/** Makes sure that the engine has `testImage`, and gives its name. Safe to call from many test files at once. */
export async function ensureTestImage(socketPath: string): Promise<string> {
  const engine = new Docker({ socketPath });
  if (await exists(engine)) return testImage;
  const busybox = await staticBusybox(engine);
  if (busybox === undefined) await pull(engine);
  else await importTree(engine, busybox);
  return testImage;
}

async function exists(engine: Docker): Promise<boolean> {
  try {
    await engine.getImage(testImage).inspect();
    return true;
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode === 404) return false;
    throw error;
  }
}

/** A busybox of this machine that runs in an otherwise empty root. On a Mac the engine is Linux and this is not. */
async function staticBusybox(engine: Docker): Promise<string | undefined> {
  const machines: Record<string, string> = { x86_64: "x64", amd64: "x64", aarch64: "arm64", arm64: "arm64" };
  const { Architecture } = await engine.info();
  if (process.platform !== "linux" || machines[Architecture] !== arch()) return undefined;
  return ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"].find((path) => existsSync(path) && isStatic(path));
}

function isStatic(path: string): boolean {
  try {
    execFileSync("ldd", [path], { stdio: "ignore" });
    return false;
  } catch {
    return true;
  }
}

async function importTree(engine: Docker, busybox: string): Promise<void> {
  const tree = mkdtempSync(join(tmpdir(), "lamplighter-image-"));
  const archive = `${tree}.tar`;
  try {
    for (const folder of ["bin", "etc", "tmp", "www", "proc", "dev", "sys"]) mkdirSync(join(tree, folder));
    chmodSync(join(tree, "tmp"), 0o1777);
    copyFileSync(busybox, join(tree, "bin/busybox"));
    chmodSync(join(tree, "bin/busybox"), 0o755);
    for (const applet of execFileSync(busybox, ["--list"], { encoding: "utf8" }).trim().split("\n")) {
      if (applet !== "busybox") symlinkSync("busybox", join(tree, "bin", applet));
    }
    writeFileSync(join(tree, "etc/passwd"), "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n");
    writeFileSync(join(tree, "etc/group"), "root:x:0:\nnogroup:x:65534:\n");
    writeFileSync(join(tree, "www/index.html"), "lamplighter test image\n");
    execFileSync("tar", ["--owner=0", "--group=0", "-C", tree, "-cf", archive, "."]);
    // Podman ignores a separate tag.
    const options = { repo: testImage, changes: ['CMD ["/bin/sh"]', "ENV PATH=/bin"] };
    const progress = await engine.importImage(archive, options);
    await finished(engine, progress);
  } finally {
    rmSync(tree, { recursive: true, force: true });
    rmSync(archive, { force: true });
  }
}

async function pull(engine: Docker): Promise<void> {
  try {
    await finished(engine, await engine.pull("busybox:1"));
  } catch (error) {
    throw new Error(`no static busybox here (Debian: busybox-static) and busybox:1 cannot be pulled: ${String(error)}`);
  }
  await engine.getImage("busybox:1").tag({ repo: testImage });
}

function finished(engine: Docker, progress: NodeJS.ReadableStream): Promise<void> {
  return new Promise((done, fail) => {
    engine.modem.followProgress(progress, (error) => (error === null ? done() : fail(error)));
  });
}

if (import.meta.main) {
  const docker = await requires("docker");
  console.log(docker.available ? await ensureTestImage(docker.path) : docker.reason);
  process.exitCode = docker.available ? 0 : 1;
}
