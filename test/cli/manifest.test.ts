import { describe, expect, test } from "vitest";
import { Failure } from "../../cli/failure.ts";
import { declarations } from "../../cli/manifest/deployments.ts";
import { parseEnv } from "../../cli/manifest/env-file.ts";
import { interpolate } from "../../cli/manifest/interpolate.ts";
import { Source } from "../../cli/manifest/source.ts";

const read = (text: string, variables: Record<string, string> = {}) =>
  declarations([new Source("app.yaml", text, (name) => variables[name])]);

function failure(work: () => unknown): Failure {
  try {
    work();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("expected a failure");
}

const details = (text: string) => failure(() => read(text)).details;

describe("fields that nobody knows", () => {
  const text = `
deployments:
  web:
    name: web
    image: nginx
    restart_policy: always
    health_checks: [{ type: tcp, port: 80, backoff: linear }]
    labels: { "a.b": c }
volumes_from_elsewhere: {}
`;
  test("are left out with a warning each, where they stand", () => {
    const { deployments, warnings } = read(text);
    expect(deployments[0]?.body).toEqual({
      name: "web",
      image: "nginx",
      health_checks: [{ type: "tcp", port: 80 }],
      labels: { "a.b": "c" },
    });
    expect(warnings).toEqual([
      "app.yaml:9:1 volumes_from_elsewhere: unknown section",
      "app.yaml:7:44 deployments.web.health_checks[0].backoff: unknown field; it is left out",
      "app.yaml:6:5 deployments.web.restart_policy: unknown field; it is left out",
    ]);
  });

  test("are refused when they look like a known one, and all of them with --strict", () => {
    expect(details("name: web\nimage: a\nreplica: 2\n")).toEqual([
      'app.yaml:3:1 replica: unknown field; did you mean "replicas"?',
    ]);
    const strict = failure(() => declarations([new Source("app.yaml", text, () => undefined)], true));
    expect(strict.details).toHaveLength(3);
  });
});

describe("what a file may be", () => {
  test("a single deployment", () => {
    const { deployments } = read("name: web\nruntime: process\ncommand: [sleep, '1']\n");
    expect(deployments.map((one) => one.body)).toEqual([{ name: "web", runtime: "process", command: ["sleep", "1"] }]);
  });

  test("several documents, of both forms, maps and lists", () => {
    const { deployments, namespaces } = read(`
name: one
image: a
---
# nothing but a comment
---
namespaces: { prod: { name: prod } }
deployments:
  any-label: { name: two, image: b, namespace: prod }
---
deployments:
  - { name: three, image: c }
`);
    expect(deployments.map((one) => one.manifest.name)).toEqual(["one", "two", "three"]);
    expect(namespaces).toEqual([{ name: "prod" }]);
  });

  test("JSON", () => {
    const { deployments } = read('{\n\t"deployments": {"web": {"name": "web", "image": "nginx", "replicas": 2}}\n}\n');
    expect(deployments[0]?.manifest.replicas).toBe(2);
  });

  test("labels as a list of single-entry maps, and fields without a value, as Ring has them", () => {
    const { deployments } = read(
      "name: web\nimage: a\nlabels:\n  - team: web\n  - tier: front\nenvironment:\nports:\n",
    );
    expect(deployments[0]?.body).toEqual({ name: "web", image: "a", labels: { team: "web", tier: "front" } });
  });

  test("anchors and merge keys", () => {
    const { deployments } = read(
      "deployments:\n  a: &base { name: a, image: x, replicas: 3 }\n  b:\n    <<: *base\n    name: b\n",
    );
    expect(deployments.map(({ manifest }) => [manifest.name, manifest.replicas])).toEqual([
      ["a", 3],
      ["b", 3],
    ]);
  });

  test("nothing in it is an error", () => {
    expect(failure(() => read("# empty\n")).message).toBe("app.yaml: no deployment in it");
  });
});

describe("what is wrong is told with its place", () => {
  test("syntax, with line, column and the line itself", () => {
    const { message, details } = failure(() => read("name: web\ncommand: [a, b\nimage: x\n"));
    expect(message).toBe("app.yaml is not valid YAML or JSON; nothing was applied");
    expect(details[0]).toMatch(/^app\.yaml:3:1: .*\n {6}image: x\n {6}\^$/);
  });

  test("malformed JSON", () => {
    const { details } = failure(() => read('{\n  "name": "web",\n  "image": "a" "b"\n}'));
    expect(details[0]).toMatch(/^app\.yaml:3:\d+: /);
  });

  test("a key twice", () => {
    expect(details("name: a\nname: b\n")[0]).toMatch(/^app\.yaml:2:1: .*unique/);
  });

  test("every violation of every document at once", () => {
    const all = details(`deployments:
  web:
    name: web
    image: nginx
    replicas: 2
    ports:
      - published: 99999
        target: 80
    enviroment: { A: b }
---
name: Job One
kind: job
runtime: process
replicas: 3
---
name: again
image: a
---
name: again
image: a
`);
    expect(all).toEqual([
      'app.yaml:9:5 deployments.web.enviroment: unknown field; did you mean "environment"?',
      "app.yaml:7:20 deployments.web.ports[0].published: expected 1 to 65535, got 99999",
      "app.yaml:7:7 deployments.web.ports: one host port cannot be shared by 2 replicas; leave `published` out, so that each gets a free one, or use 1 replica",
      "app.yaml:5:15 deployments.web.replicas: expected 1 when ports are published, got 2",
      "app.yaml:11:7 name: expected 1 to 63 lower-case letters, digits or `-`, starting and ending with a letter or digit",
      "app.yaml:11:1 command: the process runtime needs a command",
      "app.yaml:14:11 replicas: a job runs one instance; expected 1, got 3",
      "app.yaml:19:7 name: default/again is declared twice",
    ]);
  });

  test("a missing field is told where it is missing", () => {
    expect(details("deployments:\n  web:\n    image: a\n")).toEqual(["app.yaml:3:5 deployments.web.name: required"]);
  });

  test("a misspelt section is suggested", () => {
    expect(details("configs:\n  app: { name: app, data: a }\ndeployment: {}\n")).toEqual([
      'app.yaml:3:1 deployment: unknown section; did you mean "deployments"?',
    ]);
  });

  test("a document that is no map", () => {
    expect(details("- a\n- b\n")).toEqual(["app.yaml:1:1: expected a deployment: a map with a `name`"]);
  });

  test("a key with dots in it", () => {
    expect(details("name: a\nimage: a\nlabels:\n  lamplighter.x: y\n")).toEqual([
      "app.yaml:4:18 labels.lamplighter.x: this label is the system's own",
    ]);
  });

  test("below an alias, the place is where the value stands", () => {
    expect(
      details(
        "deployments:\n  a:\n    name: a\n    image: x\n    resources: &r\n      limits: { cpu: fast }\n  b: { name: b, image: x, resources: *r }\n",
      ),
    ).toEqual([
      'app.yaml:6:22 deployments.a.resources.limits.cpu: expected "500m" or a number of cores such as "0.5", got "fast"',
      'app.yaml:6:22 deployments.b.resources.limits.cpu: expected "500m" or a number of cores such as "0.5", got "fast"',
    ]);
  });
});

describe("interpolation", () => {
  const lookup = (name: string) => ({ FOO: "foo", TAG: "1.10", EMPTY: "" })[name];

  test.each([
    ["$FOO/$FOOBAR", "foo/$FOOBAR"],
    [`a\${FOO}b \${UNKNOWN} $UNKNOWN`, `afoob \${UNKNOWN} $UNKNOWN`],
    [`$$FOO $\${FOO} $$ $1 costs $5`, `$FOO \${FOO} $$ $1 costs $5`],
    ["[$EMPTY]", "[]"],
  ])("%s", (text, expected) => {
    expect(interpolate(text, lookup)).toBe(expected);
  });

  test("in values only, and a value stays text", () => {
    const { deployments } = read("name: web\nimage: nginx:$TAG\nlabels:\n  $TAG: $TAG\nenvironment:\n  V: $TAG\n", {
      TAG: "1.10",
    });
    expect(deployments[0]?.body).toEqual({
      ...{ name: "web", image: "nginx:1.10" },
      ...{ labels: { $TAG: "1.10" }, environment: { V: "1.10" } },
    });
  });

  test("an inserted value is not read as YAML, and not interpolated again", () => {
    const { deployments } = read("name: web\nimage: $A\n", { A: "x: [y] $B", B: "no" });
    expect(deployments[0]?.body).toEqual({ name: "web", image: "x: [y] $B" });
  });
});

test("an env file", () => {
  expect(parseEnv("# c\nA=1\nexport B = two words # note\nC='a # b'\nD=\"x\\ny\"\nE=\n", "f")).toEqual({
    A: "1",
    B: "two words",
    C: "a # b",
    D: "x\ny",
    E: "",
  });
  expect(failure(() => parseEnv("A=1\nsecret value\n", "f")).details).toEqual(["f:2: expected NAME=VALUE"]);
});
