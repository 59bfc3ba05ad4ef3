import { exports } from "cloudflare:workers";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Problem } from "../../contract/problem.ts";
import { findJsonFault } from "../../src/json-position.ts";
import { freeze, fresh, ROOT, request, sleeper } from "./client.ts";

beforeAll(freeze);
afterAll(() => void vi.useRealTimers());

const json = { "content-type": "application/json" };
const post = (raw: BodyInit, headers: Record<string, string> = json) =>
  request("POST", "/deployments", { raw, headers });

describe("a body", () => {
  it("that is not JSON is refused with line and column", async () => {
    const answer = await post('{\n  "name": "web",\n  "replicas": 2,\n}');
    expect(answer.status).toBe(400);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    expect(Problem.parse(answer.body)).toMatchObject({
      type: "/problems/malformed_body",
      code: "malformed_body",
      line: 4,
      column: 1,
      violations: [],
    });
    expect(answer.body.detail).toBe(
      'The body is not valid JSON: line 4, column 1: expected a property name in double quotes, found "}".',
    );
    expect((await post("")).body).toMatchObject({ code: "malformed_body", line: 1, column: 1 });
    expect((await post(new Uint8Array([0x22, 0xff, 0xfe, 0x22]))).body.detail).toBe("The body is not valid UTF-8.");
    expect((await post(`${"[".repeat(200_000)}`)).body.code).toBe("malformed_body");
  });

  it("of another type is refused", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"]) {
      expect((await post("{}", { "content-type": type })).body).toMatchObject({
        status: 415,
        code: "unsupported_media_type",
      });
    }
    expect((await post(new Uint8Array([0x7b, 0x7d]), {})).status).toBe(415);
    for (const type of ["application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]) {
      expect((await post("{}", { "content-type": type })).status).toBe(422);
    }
  });

  it("of a mebibyte is read, and one byte more is not", async () => {
    const body = JSON.stringify(sleeper({ environment: { FILL: "" } }));
    const exact = body.replace('"FILL":""', `"FILL":"${"x".repeat(1_048_576 - body.length)}"`);
    expect(exact.length).toBe(1_048_576);
    expect((await request("POST", "/deployments?dry_run=true", { raw: exact, headers: json })).status).toBe(200);
    expect((await post(`${exact} `)).body).toMatchObject({ status: 413, code: "body_too_large" });
  });

  it("without a length is read no further than the limit", async () => {
    let given = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        given += 65_536;
        controller.enqueue(new Uint8Array(65_536).fill(0x20));
      },
    });
    const response = await exports.default.fetch(
      new Request("http://lamplighter/deployments", {
        method: "POST",
        body: endless,
        headers: { ...json, authorization: `Bearer ${ROOT}` },
      }),
    );
    expect(response.status).toBe(413);
    expect(given).toBeLessThan(3 * 1_048_576);
  });
});

describe("a manifest", () => {
  const violations = async (body: unknown) => {
    const answer = await request<{ violations: { property_path: string; code: string; message: string }[] }>(
      "POST",
      "/deployments",
      { body },
    );
    expect(answer.status).toBe(422);
    return answer.body.violations;
  };

  it("is told everything that is wrong with it at once, and changes nothing", async () => {
    const name = fresh("wrong");
    const found = await violations({
      name,
      kind: "job",
      replicas: 2,
      runtime: "dockr",
      image: "nginx",
      ports: [
        { published: 0, target: 80 },
        { published: 8080, target: "http" },
      ],
      environment: { "1BAD": "x" },
      resources: { limits: { memory: "lots" } },
      replica: 3,
      health_checks: [],
      volumes: [{ type: "bind", source: "data", destination: "/data" }],
    });
    expect(found.map(({ property_path, code }) => `${property_path} ${code}`).sort()).toEqual(
      [
        "ports[1].target invalid_type",
        "replica unknown_field",
        "runtime deployment.runtime.unsupported",
        "replicas deployment.replicas.job_must_be_one",
        "environment.1BAD deployment.environment.key.invalid",
        "resources.limits.memory deployment.resources.limits.memory.invalid",
        "volumes[0].source deployment.volumes.source.not_absolute",
      ].sort(),
    );
    expect(found.find(({ property_path }) => property_path === "replica")?.message).toContain(
      'did you mean "replicas"?',
    );
    expect((await request("GET", `/deployments?namespace=default&limit=1000`)).text).not.toContain(name);
  });

  const cases: [string, Record<string, unknown>, string[]][] = [
    ["no image", { runtime: "docker" }, ["deployment.image.required"]],
    ["a process without a command", { runtime: "process" }, ["deployment.command.required"]],
    [
      "ports shared by replicas",
      { image: "x", replicas: 2, ports: [{ published: 80, target: 80 }] },
      ["deployment.ports.replicas_conflict", "deployment.replicas.ports_conflict"],
    ],
    [
      "a port twice",
      {
        image: "x",
        ports: [
          { published: 80, target: 80 },
          { published: 80, target: 81 },
        ],
      },
      ["deployment.ports.published.duplicate"],
    ],
    [
      "host network with ports",
      { image: "x", network: { mode: "host" }, ports: [{ published: 80, target: 80 }] },
      ["deployment.ports.host_network_conflict"],
    ],
    [
      "an unknown pull policy",
      { image: "x", config: { image_pull_policy: "Sometimes" } },
      ["deployment.config.image_pull_policy.unsupported"],
    ],
  ];
  it.each(cases)("with %s", async (_, manifest, codes) => {
    expect((await violations({ name: "web", ...manifest })).map(({ code }) => code)).toEqual(codes);
  });

  it.each([[null], [[]], ["text"], [3]])("that is %j is no manifest", async (body) => {
    expect(await violations(body)).toMatchObject([{ property_path: "" }]);
  });
});

describe("an error answer", () => {
  it("carries the request's id, its own or a given one", async () => {
    const own = await request("GET", "/nothing");
    expect(own.body.request_id).toMatch(/^req_[0-9a-z]{26}$/);
    expect(own.headers.get("x-request-id")).toBe(own.body.request_id);
    const given = await request("GET", "/deployments/x", { headers: { "x-request-id": "trace-1:2.3" } });
    expect([given.body.request_id, given.headers.get("x-request-id")]).toEqual(["trace-1:2.3", "trace-1:2.3"]);
    const bad = await request("GET", "/healthz", { headers: { "x-request-id": '"><script>' } });
    expect(bad.headers.get("x-request-id")).toMatch(/^req_/);
  });

  it("names every query parameter that is wrong", async () => {
    const answer = await request<{ violations: { property_path: string }[] }>(
      "GET",
      "/deployments?limit=0&status=runing&cursor=x&unknown=1",
    );
    expect([answer.status, answer.body.violations.map(({ property_path }) => property_path)]).toEqual([
      400,
      ["status", "limit", "cursor"],
    ]);
  });
});

describe("the position of a fault in JSON", () => {
  const cases: [string, number, number][] = [
    ["", 1, 1],
    ["{", 1, 2],
    ['{"a":1,}', 1, 8],
    ['{"a" 1}', 1, 6],
    ["[1,\n2,\n x]", 3, 2],
    ['{"a":tru}', 1, 6],
    ["[01]", 1, 2],
    ["[1 2]", 1, 4],
    ['"abc', 1, 1],
    ['"a\nb"', 1, 1],
    ["{} {}", 1, 4],
    ["{'a':1}", 1, 2],
    ["[1]]", 1, 4],
  ];
  it.each(cases)("%j", (text, line, column) => {
    expect(() => JSON.parse(text)).toThrow();
    expect(findJsonFault(text)).toMatchObject({ line, column });
  });

  it("is found in whatever JSON.parse refuses: 20,000 broken texts", () => {
    const alphabet = '{}[]",:0123456789.eE+-truefalsn \n\\u';
    let refused = 0;
    for (let i = 0; i < 20_000; i++) {
      const value = { a: [1, -2.5e3, 'x\\"y', null, true], b: { c: {}, d: [[]] }, "": i };
      const text = JSON.stringify(value, null, i % 3);
      const at = Math.floor(Math.random() * (text.length + 1));
      const char = alphabet[Math.floor(Math.random() * alphabet.length)];
      const broken = text.slice(0, at) + (i % 2 === 0 ? char : "") + text.slice(at + (i % 5 === 0 ? 1 : i % 7));
      try {
        JSON.parse(broken);
      } catch (error) {
        refused++;
        const { line, column } = findJsonFault(broken);
        const offset =
          broken
            .split("\n")
            .slice(0, line - 1)
            .join("\n").length +
          (line > 1 ? 1 : 0) +
          column -
          1;
        expect(offset).toBeLessThanOrEqual(broken.length);
        // The runtime's own position, where its message has one, is in the same token or later: ours is where the token begins.
        const theirs = Number(/position (\d+)/.exec(String(error))?.[1] ?? Number.NaN);
        if (!Number.isNaN(theirs)) expect(offset, broken).toBeLessThanOrEqual(theirs);
      }
    }
    expect(refused).toBeGreaterThan(5_000);
  });
});
