// A Podman service for one test file, with storage of its own, so that it meets nothing else on the machine.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Docker from "dockerode";

export interface PodmanService {
  socketPath: string;
  stop: () => Promise<void>;
}

/** `program` is the path that `requires("podman")` gives. */
export async function startPodman(program: string): Promise<PodmanService> {
  const folder = mkdtempSync(join(tmpdir(), "lamplighter-podman-"));
  const socketPath = join(folder, "podman.sock");
  const config = join(folder, "containers.conf");
  // Podman asks for more than a machine with lowered limits can give, and then starts nothing.
  const limits = ["nofile=4096:4096", "nproc=4096:4096"];
  // Its locks and its account of what runs are the machine's otherwise, and two services would wait for one another.
  const own = `[engine]\nlock_type = "file"\ntmp_dir = ${JSON.stringify(join(folder, "tmp"))}\n`;
  writeFileSync(config, `[containers]\ndefault_ulimits = ${JSON.stringify(limits)}\n${own}`);
  const env = { ...process.env, CONTAINERS_CONF: config };
  const storage = ["--root", join(folder, "root"), "--runroot", join(folder, "run")];
  const service = spawn(program, [...storage, "system", "service", "--time=0", `unix://${socketPath}`], {
    env,
    // Its monitors leave a file beside them.
    cwd: folder,
    stdio: "ignore",
  });
  const gone = new Promise<void>((done) => service.on("exit", () => done()));
  const stop = async () => {
    execFileSync(program, [...storage, "rm", "--all", "--force", "--time=0"], { env, stdio: "ignore" });
    service.kill();
    await gone;
    rmSync(folder, { recursive: true, force: true });
  };
  const engine = new Docker({ socketPath });
  for (const deadline = Date.now() + 20_000; ; ) {
    try {
      await engine.ping();
      return { socketPath, stop };
    } catch (error) {
      if (service.exitCode === null && Date.now() < deadline) await sleep(50);
      else {
        await stop();
        throw new Error("the podman service does not answer", { cause: error });
      }
    }
  }
}
