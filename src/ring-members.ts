import { PROBLEMS, type ProblemCode, type Refusal } from "../contract/problem.ts";

/**
 * Ring answered errors in several shapes, one per endpoint: `{"error"}`, `{"message"}` or `{"errors"}`. Its clients read those members, so they
 * stand in our problem documents too, on the endpoints where Ring had them. What a refusal says itself (`hint`, `remaining`) stays.
 */
type Member = "error" | "message" | "errors";
type Rule = {
  method: RegExp;
  path: RegExp;
  statuses: readonly number[];
  member: Member;
  /** In Ring's words; our own detail where there are none. */
  texts?: Readonly<Partial<Record<ProblemCode, string>>>;
};

const missing = (noun: string) => ({ not_found: `${noun} not found` });
/** What was refused because others need it. */
const held = (noun: string) => ({ ...missing(noun), still_referenced: `${noun.toLowerCase()} is still referenced` });

const RULES: readonly Rule[] = [
  {
    method: /^(GET|DELETE)$/,
    path: /^\/secrets\/[^/]+$/,
    statuses: [404, 409],
    member: "error",
    texts: held("Secret"),
  },
  {
    method: /^(GET|DELETE)$/,
    path: /^\/volumes\/[^/]+$/,
    statuses: [404, 409],
    member: "error",
    texts: held("Volume"),
  },
  {
    method: /^(GET|PUT|DELETE)$/,
    path: /^\/configs\/[^/]+$/,
    statuses: [404, 409],
    member: "error",
    texts: held("Config"),
  },
  {
    method: /^(GET|DELETE)$/,
    path: /^\/namespaces\/[^/]+$/,
    statuses: [404, 409],
    member: "error",
    texts: { ...missing("Namespace"), namespace_not_empty: "namespace is not empty" },
  },
  {
    method: /^GET$/,
    path: /^\/deployments\/[^/]+\/events$/,
    statuses: [404],
    member: "error",
    texts: missing("Deployment"),
  },
  {
    method: /^POST$/,
    path: /^\/auth\/stream-ticket$/,
    statuses: [400, 422],
    member: "error",
    texts: { malformed_body: "scope is required", validation_failed: "scope is required" },
  },
  { method: /^POST$/, path: /^\/deployments$/, statuses: [409, 500], member: "message" },
  {
    method: /^GET$/,
    path: /^\/deployments\/[^/]+\/health-checks$/,
    statuses: [404],
    member: "message",
    texts: missing("Deployment"),
  },
  { method: /^(PUT|DELETE)$/, path: /^\/users\/[^/]+$/, statuses: [400, 409, 422], member: "errors" },
];

/** The refusal with what Ring's clients look for. */
export function withRingMembers(method: string, pathname: string, refusal: Refusal): Refusal {
  const { status } = PROBLEMS[refusal.code];
  const path = pathname.replace(/^\/v1(?=\/)/, "");
  const rule = RULES.find((one) => one.statuses.includes(status) && one.method.test(method) && one.path.test(path));
  const members = rule === undefined ? accessMembers(refusal) : membersOf(rule, refusal);
  return members === null ? refusal : { ...refusal, more: { ...members, ...refusal.more } };
}

function membersOf({ member, texts }: Rule, { code, detail, violations = [] }: Refusal): Record<string, unknown> {
  if (member === "errors")
    return { errors: violations.length > 0 ? violations.map(({ message }) => message) : [detail] };
  return { [member]: texts?.[code] ?? detail };
}

/** What Ring said of tokens, on every route. */
function accessMembers({ code, detail, more }: Refusal): Record<string, unknown> | null {
  if (code === "unauthenticated") return { error: "Invalid token" };
  if (code === "insufficient_scope") return { error: `token lacks required scope '${more?.required_scope ?? ""}'` };
  if (code !== "namespace_not_permitted") return null;
  return { error: more?.namespace === undefined ? detail : `token is not scoped to namespace '${more.namespace}'` };
}
