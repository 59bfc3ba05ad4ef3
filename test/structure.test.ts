// The shape of the repository: which way imports go, what files are called, and how long they are.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const files = walk("");
const code = files.filter((file) => /\.(ts|tsx|mjs|sh|sql)$/.test(file));
const { dependencies } = JSON.parse(text("package.json")) as { dependencies: Record<string, string> };

/** Per program: the folders and packages that it may import. `node` and `npm` stand for all of that kind. */
const allowed: Record<string, { folders: string[]; packages: string[]; except?: Record<string, string[]> }> = {
  // Where in a file something is, only its parser knows; control plane and engine both want it.
  contract: { folders: ["contract"], packages: ["zod"], except: { "contract/reflexdb-yaml.ts": ["yaml"] } },
  objects: {
    folders: ["contract", "query", "objects", "migrations"],
    packages: ["zod", "croner", "cloudflare:workers", "@noble/hashes", "ipaddr.js", "standardwebhooks"],
    // Asks Cloudflare's resolver; only there is it loaded.
    except: { "objects/webhook/resolve.ts": ["node"] },
  },
  src: {
    folders: ["contract", "objects", "src"],
    packages: ["zod", "hono", "cloudflare:workers"],
    // The one file here that is a Node program: it writes docs/openapi.json.
    except: { "src/openapi.ts": ["node"] },
  },
  // PostgreSQL's own protocol, for those programs that speak it.
  postgres: { folders: ["postgres"], packages: ["node"] },
  // The language of queries: engines answer in it, and the control plane checks the filters of keys.
  query: { folders: ["contract", "query"], packages: [] },
  agent: { folders: ["contract", "postgres", "agent"], packages: ["node", "npm"] },
  // `lamplighter agent` is the agent, and so on: the programs of hosts, started by their main module.
  cli: {
    folders: ["contract", "cli", "agent/main.ts", "keeper/main.ts", "gateway/main.ts", "gateway/certificate.ts"],
    packages: ["node", "npm"],
  },
  gateway: { folders: ["contract", "postgres", "gateway"], packages: ["node", "npm"] },
  keeper: { folders: ["contract", "postgres", "keeper"], packages: ["node", "npm"] },
  engine: { folders: ["contract", "query", "engine"], packages: ["node", "npm"] },
  dashboard: { folders: ["contract", "dashboard"], packages: ["npm"] },
};

const vagueNames = ["util", "utils", "helper", "helpers", "common", "shared", "lib", "misc", "types", "manager"];
const impure =
  /\bnew Date\(\)|\b(Date\.now|performance\.now|Math\.random|crypto|fetch|await|async|setTimeout|setInterval)\b/g;

describe("imports", () => {
  for (const [program, rule] of Object.entries(allowed)) {
    test(`${program}/ imports only what it may`, () => {
      const wrong: string[] = [];
      for (const file of code.filter((each) => each.startsWith(`${program}/`) && each.endsWith(".ts"))) {
        const packages = [...rule.packages, ...(rule.except?.[file] ?? [])];
        for (const target of importsOf(file)) {
          const fine = target.startsWith(".")
            ? isInside(relative(root, join(root, dirname(file), target)), rule.folders)
            : isPackage(target, packages);
          if (!fine) wrong.push(`${file} imports ${target}`);
        }
      }
      expect(wrong).toEqual([]);
    });
  }

  test("decide files, and what they run, are pure: contract/, zod and each other; no clock, chance or waiting", () => {
    const wrong: string[] = [];
    const seen = new Set<string>();
    const visit = (file: string) => {
      if (seen.has(file)) return;
      seen.add(file);
      for (const [found] of withoutCommentsAndStrings(text(file)).matchAll(impure)) wrong.push(`${file} uses ${found}`);
      for (const target of importsOf(file, "not types")) {
        const path = relative(root, join(root, dirname(file), target));
        if (!target.startsWith(".")) {
          if (target !== "zod") wrong.push(`${file} imports ${target}`);
        } else if (!path.startsWith("contract/") && files.includes(path)) visit(path);
      }
    };
    for (const file of code) if (/(^|\/)decide(-[a-z-]+)?\.ts$/.test(file) && !file.startsWith("test/")) visit(file);
    expect(wrong).toEqual([]);
  });
});

describe("files", () => {
  test("no file or folder has a name that says nothing", () => {
    const vague = files.filter((file) => file.split("/").some((part) => vagueNames.includes(part.split(".")[0] ?? "")));
    expect(vague).toEqual([]);
  });

  test("no code file is over 400 lines", () => {
    const long = code.map((file) => [file, text(file).trimEnd().split("\n").length] as const);
    expect(long.filter(([, lines]) => lines > 400)).toEqual([]);
  });

  test("no kind of object has a shell of its own", () => {
    const bare = code.filter((file) => file.startsWith("objects/") && /extends DurableObject\b/.test(text(file)));
    expect(bare).toEqual(["objects/stored-object.ts"]);
  });

  test("docs/design names only files that exist", () => {
    const wrong: string[] = [];
    for (const page of files.filter((file) => /^docs\/design\/.*\.md$/.test(file))) {
      for (const name of pathsNamedIn(page)) if (!exists(name, page)) wrong.push(`${page} names ${name}`);
    }
    expect(wrong).toEqual([]);
  });
});

function walk(folder: string): string[] {
  const skipped = ["node_modules", "dist", "worker-configuration.d.ts"];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (skipped.includes(entry.name) || entry.name.startsWith(".")) return [];
    return entry.isDirectory() ? walk(path) : [path];
  });
}

function text(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

function importsOf(file: string, which: "all" | "not types" = "all"): string[] {
  const kind = which === "all" ? "" : "(?!\\s+type\\b)";
  const statement = new RegExp(`^(?:import|export)\\b${kind}[^"'\`;]*?\\bfrom\\s*["']([^"']+)["']`, "gm");
  const bare = /^import\s*["']([^"']+)["']/gm;
  const dynamic = /\bimport\(\s*["']([^"']+)["']/g;
  const source = withoutComments(text(file));
  return [statement, bare, dynamic].flatMap((form) => [...source.matchAll(form)].map((match) => match[1] ?? ""));
}

function isInside(path: string, folders: string[]): boolean {
  return folders.some((folder) => path === folder || path.startsWith(`${folder}/`));
}

function isPackage(target: string, packages: string[]): boolean {
  if (target.startsWith("node:")) return packages.includes("node");
  const name = target
    .split("/")
    .slice(0, target.startsWith("@") ? 2 : 1)
    .join("/");
  return packages.includes(name) || (packages.includes("npm") && name in dependencies);
}

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|[^:"'`\\])\/\/.*$/gm, "$1");
}

function withoutCommentsAndStrings(source: string): string {
  return withoutComments(source).replace(/"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g, '""');
}

/** Paths in backticks (`objects/alarm.ts`, `cli/`, `decide.ts`) and in relative links; patterns are left alone. */
function pathsNamedIn(page: string): string[] {
  const top = new Set([...Object.keys(allowed), ...files.map((file) => file.split("/")[0])]);
  const quoted = [...text(page).matchAll(/`([\w.@-]+(?:\/[\w.@-]+)*\/?)`/g)].map((match) => match[1] ?? "");
  const linked = [...text(page).matchAll(/\]\((\.{1,2}\/[^)#\s]+|[\w-]+\.md)/g)].map((match) => match[1] ?? "");
  const named = quoted.filter((name) =>
    name.includes("/") ? top.has(name.split("/")[0]) : /\.(ts|mjs|sql|toml|sh)$/.test(name),
  );
  return [...named, ...linked];
}

function exists(name: string, page: string): boolean {
  return (
    existsSync(join(root, name)) ||
    existsSync(join(root, dirname(page), name)) ||
    (!name.includes("/") && files.some((file) => file.endsWith(`/${name}`)))
  );
}
