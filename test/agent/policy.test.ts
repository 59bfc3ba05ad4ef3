import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { imagePermitted, isWithin, PolicyFile, permit, readPolicy } from "../../agent/policy.ts";
import type { Mount, WorkloadSpec } from "../../contract/workload.ts";
import { folder, workload } from "./workload.ts";

const PATH = "/etc/lamplighter/policy.json";
const bind = (source: string): Mount => ({
  type: "bind",
  source,
  destination: "/data",
  driver: "local",
  permission: "rw",
});
const docker = { runtime: "docker" as const, image: "nginx" };

const judge = (spec: Partial<WorkloadSpec>, policy: Partial<PolicyFile> = {}) =>
  permit(workload({ spec }), PolicyFile.parse(policy), PATH);

test.each<[string, Partial<WorkloadSpec>, Partial<PolicyFile>, string | null]>([
  ["nothing special", {}, {}, null],
  ["privileged", { ...docker, user: { id: null, group: null, privileged: true } }, {}, "privileged"],
  [
    "privileged, permitted",
    { ...docker, user: { id: null, group: null, privileged: true } },
    { privileged: true },
    null,
  ],
  ["a process of user 0", { user: { id: 0, group: null, privileged: false } }, {}, "privileged"],
  ["a process of group 0", { user: { id: 1000, group: 0, privileged: false } }, {}, "privileged"],
  ["a process of user 0, permitted", { user: { id: 0, group: 0, privileged: false } }, { privileged: true }, null],
  ["user 0 in a container", { ...docker, user: { id: 0, group: 0, privileged: false } }, {}, null],
  ["host network", { ...docker, network: "host" }, {}, "host_network"],
  ["host network, permitted", { ...docker, network: "host" }, { host_network: true }, null],
  ["an image, none listed", docker, {}, null],
  ["an image, not listed", docker, { images: ["ghcr.io/acme"] }, "images"],
  ["the host's own credentials", { ...docker, use_host_auth: true }, {}, "host_registry_auth"],
  ["the host's own credentials, permitted", { ...docker, use_host_auth: true }, { host_registry_auth: true }, null],
  ["an image, listed", docker, { images: ["ghcr.io/acme", "nginx"] }, null],
  ["a mount, none listed", { ...docker, mounts: [bind("/srv")] }, {}, "host_mounts"],
  ["a mount, listed", { ...docker, mounts: [bind("/srv/data")] }, { host_mounts: ["/srv"] }, null],
  [
    "a mount beside a listed one",
    { ...docker, mounts: [bind("/srv-secret")] },
    { host_mounts: ["/srv"] },
    "host_mounts",
  ],
  ["a mount above a listed one", { ...docker, mounts: [bind("/")] }, { host_mounts: ["/srv"] }, "host_mounts"],
  ["a way out by dots", { ...docker, mounts: [bind("/srv/../etc")] }, { host_mounts: ["/srv"] }, "host_mounts"],
  ["a relative mount", { ...docker, mounts: [bind("srv")] }, { host_mounts: ["/"] }, "host_mounts"],
  [
    "the second of two mounts",
    { ...docker, mounts: [bind("/srv/a"), bind("/etc")] },
    { host_mounts: ["/srv/"] },
    "host_mounts",
  ],
  ["a volume", { ...docker, mounts: [{ ...bind("data"), type: "volume" }] }, {}, null],
])("%s", async (_, spec, policy, key) => {
  const verdict = await judge(spec, policy);
  if (key === null) return expect(verdict.permitted).toBe(true);
  expect(verdict).toMatchObject({ permitted: false, denial: { reason: "policy_denied" } });
  const message = verdict.permitted ? "" : verdict.denial.message;
  expect(message).toContain(`policy key "${key}"`);
  expect(message).toContain(PATH);
});

test("symbolic links are followed, also when the end of the path does not exist, and the real path is what is mounted", async () => {
  const root = folder();
  mkdirSync(join(root, "open"));
  mkdirSync(join(root, "closed"));
  symlinkSync(join(root, "closed"), join(root, "open", "way-out"));
  symlinkSync(join(root, "open"), join(root, "alias"));
  const policy = { host_mounts: [join(root, "open")] };
  for (const path of ["open/way-out", "open/way-out/new/file"]) {
    expect(await judge({ ...docker, mounts: [bind(join(root, path))] }, policy)).toMatchObject({ permitted: false });
  }
  const verdict = await judge({ ...docker, mounts: [bind(join(root, "alias", "new"))] }, policy);
  expect(verdict).toMatchObject({
    permitted: true,
    workload: { spec: { mounts: [{ source: join(root, "open", "new") }] } },
  });
  expect(
    await judge({ ...docker, mounts: [bind(join(root, "open", "x"))] }, { host_mounts: [join(root, "alias")] }),
  ).toMatchObject({ permitted: true });
});

test.each([
  ["nginx", "nginx", true],
  ["nginx:1.27", "nginx", true],
  ["nginx@sha256:00", "nginx", true],
  ["nginx-evil", "nginx", false],
  ["nginx/evil", "nginx", false],
  ["docker.io/library/nginx", "nginx", true],
  ["docker.io/nginx", "nginx", true],
  ["nginx", "docker.io/", true],
  ["evil.io/nginx", "docker.io/", false],
  ["ghcr.io/acme/web", "ghcr.io/acme", true],
  ["ghcr.io/acme/web", "ghcr.io/acme/", true],
  ["ghcr.io/acme-evil/web", "ghcr.io/acme", false],
  ["localhost:5000/web", "localhost:5000", true],
  ["localhost:50001/web", "localhost:5000", false],
])("image %s under %s: %s", (image, prefix, permitted) => {
  expect(imagePermitted(image, [prefix])).toBe(permitted);
});

test("prefixes of paths end at whole segments", () => {
  expect(isWithin("/a/b", "/a")).toBe(true);
  expect(isWithin("/a", "/a/")).toBe(true);
  expect(isWithin("/ab", "/a")).toBe(false);
  expect(isWithin("/anything", "/")).toBe(true);
});

test("the file: absent, malformed, with an unknown key", async () => {
  const path = join(folder(), "policy.json");
  expect(await readPolicy(path)).toEqual({
    privileged: false,
    host_network: false,
    host_mounts: [],
    images: [],
    host_registry_auth: false,
  });
  writeFileSync(path, "{");
  await expect(readPolicy(path)).rejects.toThrow(`${path} is not valid JSON`);
  writeFileSync(path, '{"privilege": true, "host_mounts": ["relative"]}');
  await expect(readPolicy(path)).rejects.toThrow(/host_mounts.*privilege|privilege.*host_mounts/s);
});
