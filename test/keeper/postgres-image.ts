// An image with this machine's own PostgreSQL and the libraries that it needs, so that no registry is needed.
import { execFileSync, spawnSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { join } from "node:path";
import { findInstallations } from "../../agent/postgres/binaries.ts";

/** Null where the machine's PostgreSQL cannot be put into an image. */
export async function ensurePostgresImage(): Promise<string | null> {
  const [own] = await findInstallations();
  if (own === undefined || process.platform !== "linux") return null;
  const image = `lamplighter/postgres:${own.version.toLowerCase()}`;
  if (spawnSync("docker", ["image", "inspect", image]).status === 0) return image;
  const programs = ["postgres", "initdb"].map((name) => join(own.folder, name));
  const folders = ["--pkglibdir", "--sharedir"].map((flag) =>
    realpathSync(execFileSync(join(own.folder, "pg_config"), [flag], { encoding: "utf8" }).trim()),
  );
  const used = [...programs, "/bin/sh"].flatMap((program) =>
    [...execFileSync("ldd", [program], { encoding: "utf8" }).matchAll(/(\/\S+) \(0x/g)].map(
      ([, path]) => path as string,
    ),
  );
  const paths = [...new Set([...programs, ...folders, ...used, "/bin/sh"])].map((path) => path.slice(1));
  const tar = execFileSync("tar", ["-C", "/", "-chf", "-", ...paths], {
    maxBuffer: 1024 ** 3,
    stdio: ["ignore", "pipe", "ignore"],
  });
  execFileSync("docker", ["import", "--change", `ENV PATH=${own.folder}:/bin`, "-", image], { input: tar });
  return image;
}
