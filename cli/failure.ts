import { AllowedActions } from "../contract/action.ts";
import { PROBLEMS, type Problem, type Violation } from "../contract/problem.ts";

/** How `lamplighter` ends, by class of what happened. */
export const EXIT = { ok: 0, other: 1, auth: 2, unreachable: 3, notFound: 4, conflict: 5, interrupted: 130 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Something a person has to be told: one line, then a bullet for each detail. Every expected error of the CLI is one of these. */
export class Failure extends Error {
  readonly exit: ExitCode;
  readonly details: readonly string[];
  readonly hint: string | undefined;

  constructor(
    message: string,
    more: { exit?: ExitCode; details?: readonly string[]; hint?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause });
    this.exit = more.exit ?? EXIT.other;
    this.details = more.details ?? [];
    this.hint = more.hint;
  }

  /** The same failure with what was being done in front: `cannot delete deployment 'x': …`. */
  during(action: string): Failure {
    return new Failure(`${action}: ${this.message}`, {
      exit: this.exit,
      details: this.details,
      hint: this.hint,
      cause: this,
    });
  }
}

/** An error answer of the server. */
export class Refused extends Failure {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(sentence(problem), {
      exit: exitOf(problem.status),
      details: problem.violations.map(bullet),
      hint: hintFor(problem),
    });
    this.problem = problem;
  }
}

export class Unreachable extends Failure {
  constructor(url: string, why: string, cause?: unknown) {
    super(`cannot reach the server at ${url}: ${why}`, {
      exit: EXIT.unreachable,
      hint: "Is it running? `lamplighter up` starts one here; `lamplighter context show` says which server is asked.",
      cause,
    });
  }
}

export class Interrupted extends Failure {
  constructor() {
    super("interrupted", { exit: EXIT.interrupted });
  }
}

export const notFound = (kind: string, name: string, hint?: string): Failure =>
  new Failure(`${kind} '${name}' not found`, { exit: EXIT.notFound, hint });

export const bullet = (violation: Violation): string =>
  violation.property_path === "" ? violation.message : `${violation.property_path}: ${violation.message}`;

function exitOf(status: number): ExitCode {
  if (status === 401 || status === 403) return EXIT.auth;
  if (status === 404 || status === 410) return EXIT.notFound;
  return status === 409 || status === 412 ? EXIT.conflict : EXIT.other;
}

function sentence(problem: Problem): string {
  const detail = problem.detail.trim();
  const title = problem.title.trim();
  const said = problem.violations.length > 0 && problem.violations.every((one) => detail.includes(bullet(one)));
  return `${title === "" ? `the server answered ${problem.status}` : title} (${problem.status})${detail === "" || detail === title || said ? "" : `: ${detail}`}`;
}

function hintFor(problem: Problem): string | undefined {
  if (problem.status === 401 && problem.code !== "invalid_credentials") {
    return "Log in with `lamplighter login`, or set a token with `lamplighter context set NAME --url URL --token TOKEN`, or $LAMPLIGHTER_TOKEN.";
  }
  if (problem.status === 500) {
    return problem.request_id === undefined ? undefined : `The server knows this request as ${problem.request_id}.`;
  }
  const possible = Object.entries(AllowedActions.safeParse(problem.allowedActions).data ?? {});
  if (problem.code === "action_not_allowed" && possible.length > 0) {
    const names = possible.filter(([, { allowed }]) => allowed).map(([action]) => action.replaceAll("_", "-"));
    return names.length === 0 ? "Nothing is possible now." : `Possible now: ${names.join(", ")}.`;
  }
  // Violations say themselves what to do.
  if (problem.violations.length > 0) return undefined;
  return (PROBLEMS as Record<string, { help: string }>)[problem.code]?.help;
}

/** The command's own exit code is this one's, as with `docker exec`; it has said itself what was wrong. */
export class ExecEnded extends Failure {
  readonly code: number;
  constructor(code: number | null) {
    super(code === null ? "the command was ended by a signal" : `the command ended with exit code ${code}`);
    this.code = code ?? 1;
  }
}
