import { DurableObject } from "cloudflare:workers";
import type { ConfigCreate, ConfigUpdate } from "../../contract/config.ts";
import { DEFAULT_NAMESPACE } from "../../contract/namespace.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Reference } from "../../contract/reference.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import type { SecretCreate } from "../../contract/secret.ts";
import type { VolumeCreate } from "../../contract/volume.ts";
import { commit } from "../alarm.ts";
import type { DatabaseDraft } from "../database/creation.ts";
import { namespacedId } from "../namespaced-id.ts";
import { project } from "../projection.ts";
import { remote } from "../remote.ts";
import { once } from "../request.ts";
import { type Resealed, resealed } from "../reseal.ts";
import type { Active } from "./decide.ts";
import {
  createNamespace,
  deleteNamespace,
  ensure,
  exists,
  mayNotCreate,
  missingNamespace,
  namespaceIndexRow,
  namespaceView,
  unknownNamespace,
} from "./existence.ts";
import { dropName, hasLeft, type NamedKind, nameHolder, takeName } from "./name-claim.ts";
import { changedReferences, missing, type Resolution, resolve } from "./reference.ts";
import {
  byId,
  type Content,
  departedRow,
  type Head,
  insert,
  type ResourceKind,
  read,
  remove,
  resourceIndexRow,
  unknown,
  update,
} from "./resource.ts";
import { type Secret, sealSecretValue } from "./secret.ts";
import type { Volume } from "./volume.ts";

/** The part of a NamespaceObject that keeps configs, secrets and volumes, and the namespace itself. */
export abstract class NamespaceResources extends DurableObject<Env> {
  protected abstract isBorn(): boolean;
  protected abstract bear(): void;
  protected abstract drain(): Promise<void>;

  /** What of a deployment's references is missing, for a person; null for nothing. It is told when that is made or changed. */
  missing(deploymentId: string, references: Reference[]): string | null {
    this.bear();
    return commit(this.ctx.storage, () => missing(this.ctx.storage.sql, deploymentId, references, this.name));
  }

  /** What the references of a deployment come to, for instances that are given it; or what is missing, as above. */
  resolve(deploymentId: string, references: Reference[]): Resolution {
    this.bear();
    return commit(this.ctx.storage, () => resolve(this.ctx.storage.sql, deploymentId, references, this.name));
  }

  async createNamespace(mutation: Mutation): Promise<Reply<Answer>> {
    return this.#mutate((now) => createNamespace(this.ctx.storage.sql, this.name, mutation, now));
  }

  async deleteNamespace(mutation: Mutation): Promise<Reply<Answer>> {
    if (!this.exists()) return unknownNamespace(this.name);
    return this.#mutate((now) => deleteNamespace(this.ctx.storage.sql, this.name, mutation, now));
  }

  /** Makes a database under a name that is free. The same request again answers the same. */
  async createDatabase(draft: DatabaseDraft, mutation: Mutation, mayCreateNamespace: boolean): Promise<Reply<Answer>> {
    const { id, name } = draft.identity;
    const claimed = await this.claimName("database", name, id, mutation, mayCreateNamespace);
    if (!claimed.ok) return claimed;
    const reply = await remote(this.env.DATABASE, id).create(draft, mutation);
    // A copy: what came over RPC, handed on as it is, would hold both objects until it is collected.
    return reply.ok ? accept({ ...reply.value }) : { ok: false, refusal: { ...reply.refusal } };
  }

  /** Gives a name of its kind to an object that is about to be made. Asked again for the same object, it has it. */
  async claimName(
    kind: Exclude<NamedKind, "schedule">,
    name: string,
    id: string,
    mutation: Mutation,
    mayCreateNamespace: boolean,
  ): Promise<Reply<null>> {
    if (!mayCreateNamespace && !this.exists()) return mayNotCreate(this.name);
    this.bear();
    const { sql } = this.ctx.storage;
    for (;;) {
      const holder = nameHolder(sql, kind, name);
      if (holder !== null && holder !== id && !(await hasLeft(this.env, kind, holder)))
        return refuse("name_taken", `The name '${name}' is taken by ${holder}.`);
      // While the holder was asked, another may have taken the name.
      const isTaken = commit(this.ctx.storage, () => {
        if (nameHolder(sql, kind, name) !== holder) return false;
        ensure(sql, this.#head(mutation, Date.now()));
        takeName(sql, kind, name, id);
        return true;
      });
      if (!isTaken) continue;
      await this.drain();
      return accept(null);
    }
  }

  /** The object no longer holds its name. */
  releaseName(kind: NamedKind, name: string, id: string): void {
    if (this.isBorn()) commit(this.ctx.storage, () => dropName(this.ctx.storage.sql, kind, name, id));
  }

  /** The namespace; the one that is always there is made by the first look at it. */
  async readNamespace(): Promise<Reply<Answer>> {
    if (!this.exists()) return unknownNamespace(this.name);
    const by = { actor: "system", request_id: "" };
    const view = await this.#mutate((now) => {
      ensure(this.ctx.storage.sql, { namespace: this.name, now, by });
      return namespaceView(this.ctx.storage.sql, this.name);
    });
    return accept({ status: 200, body: JSON.stringify(view), revision: 1 });
  }

  async createConfig(config: ConfigCreate, mutation: Mutation): Promise<Reply<Answer>> {
    const { name, data, labels = null } = config;
    return this.#create("config", name, async () => accept({ data, labels }), mutation);
  }

  async createSecret({ name, value }: SecretCreate, mutation: Mutation): Promise<Reply<Answer>> {
    return this.#create("secret", name, (id) => sealSecretValue(this.env, id, value), mutation);
  }

  async createVolume(volume: VolumeCreate, mutation: Mutation): Promise<Reply<Answer>> {
    const { name, size, backend_type, labels } = volume;
    const content: Volume = {
      size: size ?? null,
      backend_type: backend_type ?? "local",
      labels: labels ?? {},
      registered_by: "api",
    };
    return this.#create("volume", name, async () => accept(content), mutation);
  }

  async updateConfig(
    id: string,
    { name, data, labels = null }: ConfigUpdate,
    mutation: Mutation,
  ): Promise<Reply<Answer>> {
    if (!this.isBorn()) return unknown("config", id);
    return this.#mutate((now) =>
      once(this.ctx.storage.sql, mutation, now, () => {
        const renamed = name !== undefined && byId(this.ctx.storage.sql, id)?.name !== name;
        if (renamed && byId(this.ctx.storage.sql, id) !== null)
          return refuse("name_taken", "A config keeps the name that it was made with.");
        return update(
          this.ctx.storage.sql,
          { id, kind: "config", content: { data, labels } },
          mutation,
          this.#head(mutation, now),
        );
      }),
    );
  }

  async updateSecret(id: string, value: string, mutation: Mutation): Promise<Reply<Answer>> {
    if (!this.isBorn()) return unknown("secret", id);
    const before = byId(this.ctx.storage.sql, id);
    const known = before?.kind === "secret" ? (before.content as Secret) : null;
    const content = await sealSecretValue(this.env, id, value, known);
    if (!content.ok) return content;
    return this.#mutate((now) =>
      once(this.ctx.storage.sql, mutation, now, () =>
        update(
          this.ctx.storage.sql,
          { id, kind: "secret", content: content.value },
          mutation,
          this.#head(mutation, now),
        ),
      ),
    );
  }

  /** @param refuseReferenced whether it stays when deployments refer to it */
  async deleteResource(
    kind: ResourceKind,
    id: string,
    refuseReferenced: boolean,
    mutation: Mutation,
  ): Promise<Reply<Answer>> {
    if (!this.isBorn()) return unknown(kind, id);
    return this.#mutate((now) =>
      once(this.ctx.storage.sql, mutation, now, () =>
        remove(this.ctx.storage.sql, kind, id, refuseReferenced, mutation, this.#head(mutation, now)),
      ),
    );
  }

  readResource(kind: ResourceKind, id: string): Reply<Answer> {
    return this.isBorn() ? read(this.ctx.storage.sql, kind, id, this.name) : unknown(kind, id);
  }

  /** Seals all that is sealed here anew, with the newest key. */
  async reseal(): Promise<Reply<Resealed>> {
    return this.isBorn() ? resealed(this.ctx.storage, this.env) : accept({ resealed: 0, left: {} });
  }

  async #create<K extends ResourceKind>(
    kind: K,
    name: string,
    content: (id: string) => Promise<Reply<Content[K]>>,
    mutation: Mutation,
  ): Promise<Reply<Answer>> {
    const refusal = this.exists() || kind === "config" ? null : missingNamespace(this.name);
    if (refusal) return refusal;
    const id = namespacedId(kind, this.name, Date.now());
    const made = await content(id);
    if (!made.ok) return made;
    return this.#mutate((now) =>
      once(this.ctx.storage.sql, mutation, now, () => {
        const head = this.#head(mutation, now);
        ensure(this.ctx.storage.sql, head);
        return insert(this.ctx.storage.sql, { id, kind, name, content: made.value }, head);
      }),
    );
  }

  /** One change; and what the lists are to know of it they know when it is answered, so that it is found by its id at once. */
  async #mutate<T>(work: (now: number) => T): Promise<T> {
    this.bear();
    const result = commit(this.ctx.storage, () => work(Date.now()));
    await this.drain();
    return result;
  }

  protected get name(): string {
    return this.ctx.id.name as string;
  }

  #head(by: Mutation, now: number): Head {
    return { namespace: this.name, now, by };
  }

  protected exists(): boolean {
    return this.name === DEFAULT_NAMESPACE || (this.isBorn() && exists(this.ctx.storage.sql, this.name));
  }

  /** Of what the deployment's instances were given another version than there is now. */
  protected changedReferences(active: Active | null): string[] {
    return this.isBorn() && active?.manifest != null
      ? changedReferences(this.ctx.storage.sql, active.id, active.manifest, this.name)
      : [];
  }
}

/** Tells the lists about one resource, or a deployment that something which it waits for may be there. */
export async function deliverResource(key: string, sql: SqlStorage, env: Env, namespace: string): Promise<void> {
  const [what, kind, id] = key.split(" ") as [string, string, string];
  if (what === "tell") return remote(env.DEPLOYMENT, kind).referenceChanged();
  const row = kind === "namespace" ? null : byId(sql, id);
  const own = kind === "namespace" ? namespaceView(sql, namespace) : null;
  if (own?.id === id) return project(sql, env.INDEX, namespaceIndexRow(own));
  if (row) return project(sql, env.INDEX, resourceIndexRow(row, namespace));
  const gone = departedRow(sql, id, namespace);
  if (gone === null) return;
  await project(sql, env.INDEX, gone);
  sql.exec("DELETE FROM departed WHERE id = ?", id);
}
