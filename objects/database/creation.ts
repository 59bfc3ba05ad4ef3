import type { DatabaseIdentity, DatabaseSettings } from "../../contract/database-state.ts";
import { accept, type Reply } from "../../contract/problem.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import type { Verifier } from "../../contract/scram.ts";
import { post } from "../outbox.ts";
import { audit } from "../projection.ts";
import { addCredential, type Scram, setScram } from "./credential.ts";
import { initial } from "./decide.ts";
import type { Demand } from "./draft.ts";
import { auditEntry, type DatabaseRecord, factsOf, insert, load } from "./record.ts";
import { databaseView } from "./view.ts";

export type DatabaseDraft = {
  identity: DatabaseIdentity;
  settings: DatabaseSettings;
  scram: Scram;
  verifier: Verifier;
  /** The password, sealed to whoever asked, for the same request again. */
  sealed: string | null;
};

const NOBODY: Demand = { leases: [], last_active_at: 0 };

/** Makes the record of a database, and asks for what it needs. Call it inside `commit`. */
export function make(sql: SqlStorage, draft: DatabaseDraft, mutation: Mutation, now: number): Reply<Answer> {
  const { identity, settings } = draft;
  setScram(sql, draft.scram);
  addCredential(sql, draft.verifier, null, now);
  const facts = factsOf(sql, { settings, keeping: null }, NOBODY, now);
  insert(sql, identity, settings, initial(facts), facts, mutation.actor);
  audit(sql, auditEntry(identity, "create", mutation, now, null, 1));
  post(sql, "index", now);
  post(sql, "prepare", now);
  const view = databaseView(sql, load(sql) as DatabaseRecord, new Set(), now);
  return accept({ status: 201, body: JSON.stringify({ ...view, sealed: draft.sealed }), revision: 1 });
}
