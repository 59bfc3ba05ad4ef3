import { describe, expect, it } from "vitest";
import { PROBLEMS, Problem } from "../../contract/problem.ts";
import checkedIn from "../../docs/openapi.json";
import problems from "../../docs/problems.md?raw";
import { ROUTES } from "../../src/api/routes.ts";
import { documentOf, problemsOf } from "../../src/openapi-document.ts";
import { problemsMarkdown } from "../../src/problem-page.ts";
import { request } from "./client.ts";

describe("the OpenAPI document", () => {
  it("is the one that is checked in (`npm run spec` writes it) and the one that is served", async () => {
    const made = JSON.parse(JSON.stringify(documentOf(ROUTES)));
    expect(made).toEqual(checkedIn);
    for (const prefix of ["", "/v1"])
      expect((await request("GET", `${prefix}/openapi.json`, { token: null })).body).toEqual(checkedIn);
  });

  it("has an operation for each route, each with an id of its own, a scope, and its problems", () => {
    const operations = Object.values(documentOf(ROUTES).paths).flatMap((methods) => Object.values(methods));
    expect(operations).toHaveLength(ROUTES.length);
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(ROUTES.length);
    for (const { operationId, responses } of operations) {
      const codes = Object.values(responses).flatMap((response) => (response["x-codes"] as string[] | undefined) ?? []);
      const route = ROUTES.find(
        ({ method, path }) =>
          operationId ===
          method.toLowerCase() +
            path
              .split(/\W+/)
              .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
              .join(""),
      );
      expect(codes.sort(), operationId).toEqual([...problemsOf(route as (typeof ROUTES)[number])].sort());
    }
  });

  it("leads nowhere that is not in it", () => {
    const text = JSON.stringify(checkedIn);
    for (const [, kind, name] of text.matchAll(/"#\/components\/(\w+)\/([^"]+)"/g)) {
      expect(
        (checkedIn.components as Record<string, Record<string, unknown>>)[kind as string],
        `${kind}/${name}`,
      ).toHaveProperty([name as string]);
    }
    expect(text).not.toContain("$defs");
  });

  it("has examples that fit their schemas", () => {
    for (const route of ROUTES) {
      if (route.body)
        expect(route.body.schema.safeParse(route.body.example).error, `${route.path} body`).toBeUndefined();
      for (const { schema, example } of Object.values(route.answers)) {
        if (schema && example !== undefined)
          expect(schema.safeParse(example).error, `${route.method} ${route.path}`).toBeUndefined();
      }
    }
    for (const { value } of Object.values(checkedIn.components.examples)) Problem.parse(value);
  });
});

describe("the pages", () => {
  it("show every route, load nothing, and run only their own script", async () => {
    const docs = await request("GET", "/docs", { token: null });
    expect(docs.headers.get("content-security-policy")).toMatch(
      /^default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/]{43}='/,
    );
    for (const { summary } of ROUTES) expect(docs.text).toContain(summary.replaceAll("'", "&#39;"));
    expect(docs.text).not.toMatch(/(src|href)="(https?:)?\/\//);
  });

  it("have one for each problem, which is also in docs/problems.md", async () => {
    expect(problemsMarkdown()).toBe(problems);
    for (const [code, { status, title }] of Object.entries(PROBLEMS)) {
      const page = await request("GET", `/v1/problems/${code}`, { token: null });
      expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
      expect(page.text).toContain(title);
      expect(page.text).toContain(String(status));
      expect(problems).toContain(`## ${code}\n`);
    }
    expect((await request("GET", "/problems/none", { token: null })).body.code).toBe("not_found");
  });
});
