import type { ConfigCreate, ConfigUpdate } from "../../contract/config.ts";
import { DEFAULT_NAMESPACE } from "../../contract/namespace.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import type { Reference } from "../../contract/reference.ts";
import type { Answer, Mutation } from "../../contract/request.ts";
import type { SecretCreate } from "../../contract/secret.ts";
import type { VolumeCreate } from "../../contract/volume.ts";
import type { DatabaseDraft } from "../database/creation.ts";
import { namespacedId } from "../namespaced-id.ts";
import { copied, remote } from "../remote.ts";
import { once } from "../request.ts";
import { StoredObject } from "../stored-object.ts";
import type { Active } from "./decide.ts";
import {
  createNamespace,
  deleteNamespace,
  ensure,
  exists,
  mayNotCreate,
  missingNamespace,
  namespaceView,
  unknownNamespace,
} from "./existence.ts";
import { dropName, hasLeft, type NamedKind, nameHolder, takeName } from "./name-claim.ts";
import { changedReferences, missing, type Resolution, resolve } from "./reference.ts";
import { byId, type Content, type Head, insert, type ResourceKind, read, remove, unknown, update } from "./resource.ts";
import { type Secret, sealSecretValue } from "./secret.ts";
import type { Volume } from "./volume.ts";

/** The part of a NamespaceObject that keeps configs, secrets and volumes, and the namespace itself. */
export abstract class NamespaceResources extends StoredObject {
  /** What of a deployment's references is missing, for a person; null for nothing. It is told when that is made or changed. */
  missing(deploymentId: string, references: Reference[]): string | null {
    this.bear();
    return this.change(() => missing(this.sql, deploymentId, references, this.name));
  }

  /** What the references of a deployment come to, for instances that are given it; or what is missing, as above. */
  resolve(deploymentId: string, references: Reference[]): Resolution {
    this.bear();
    return this.change(() => resolve(this.sql, deploymentId, references, this.name));
  }

  async createNamespace(mutation: Mutation): Promise<Reply<Answer>> {
    return this.#mutate((now) => createNamespace(this.sql, this.name, mutation, now));
  }

  async deleteNamespace(mutation: Mutation): Promise<Reply<Answer>> {
    if (!this.exists()) return unknownNamespace(this.name);
    return this.#mutate((now) => deleteNamespace(this.sql, this.name, mutation, now));
  }

  /** Makes a database under a name that is free. The same request again answers the same. */
  async createDatabase(draft: DatabaseDraft, mutation: Mutation, mayCreateNamespace: boolean): Promise<Reply<Answer>> {
    const { id, name } = draft.identity;
    const claimed = await this.claimName("database", name, id, mutation, mayCreateNamespace);
    if (!claimed.ok) return claimed;
    return copied(await remote(this.env.DATABASE, id).create(draft, mutation));
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
    const { sql } = this;
    for (;;) {
      const holder = nameHolder(sql, kind, name);
      if (holder !== null && holder !== id && !(await hasLeft(this.env, kind, holder)))
        return refuse("name_taken", `The name '${name}' is taken by ${holder}.`);
      // While the holder was asked, another may have taken the name.
      const isTaken = this.change(() => {
        if (nameHolder(sql, kind, name) !== holder) return false;
        ensure(sql, this.#head(mutation, Date.now()));
        takeName(sql, kind, name, id);
        return true;
      });
      if (!isTaken) continue;
      await this.outbox.drain();
      return accept(null);
    }
  }

  /** The object no longer holds its name. */
  releaseName(kind: NamedKind, name: string, id: string): void {
    if (this.isBorn) this.change(() => dropName(this.sql, kind, name, id));
  }

  /** The namespace; the one that is always there is made by the first look at it. */
  async readNamespace(): Promise<Reply<Answer>> {
    if (!this.exists()) return unknownNamespace(this.name);
    const by = { actor: "system", request_id: "" };
    const view = await this.#mutate((now) => {
      ensure(this.sql, { namespace: this.name, now, by });
      return namespaceView(this.sql, this.name);
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
    if (!this.isBorn) return unknown("config", id);
    return this.#mutate((now) =>
      once(this.sql, mutation, now, () => {
        const renamed = name !== undefined && byId(this.sql, id)?.name !== name;
        if (renamed && byId(this.sql, id) !== null)
          return refuse("name_taken", "A config keeps the name that it was made with.");
        return update(this.sql, { id, kind: "config", content: { data, labels } }, mutation, this.#head(mutation, now));
      }),
    );
  }

  async updateSecret(id: string, value: string, mutation: Mutation): Promise<Reply<Answer>> {
    if (!this.isBorn) return unknown("secret", id);
    const before = byId(this.sql, id);
    const known = before?.kind === "secret" ? (before.content as Secret) : null;
    const content = await sealSecretValue(this.env, id, value, known);
    if (!content.ok) return content;
    return this.#mutate((now) =>
      once(this.sql, mutation, now, () =>
        update(this.sql, { id, kind: "secret", content: content.value }, mutation, this.#head(mutation, now)),
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
    if (!this.isBorn) return unknown(kind, id);
    return this.#mutate((now) =>
      once(this.sql, mutation, now, () =>
        remove(this.sql, kind, id, refuseReferenced, mutation, this.#head(mutation, now)),
      ),
    );
  }

  readResource(kind: ResourceKind, id: string): Reply<Answer> {
    return this.isBorn ? read(this.sql, kind, id, this.name) : unknown(kind, id);
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
      once(this.sql, mutation, now, () => {
        const head = this.#head(mutation, now);
        ensure(this.sql, head);
        return insert(this.sql, { id, kind, name, content: made.value }, head);
      }),
    );
  }

  /** One change; and what the lists are to know of it they know when it is answered, so that it is found by its id at once. */
  async #mutate<T>(work: (now: number) => T): Promise<T> {
    this.bear();
    const result = this.change(work);
    await this.outbox.drain();
    return result;
  }

  protected get name(): string {
    return this.id;
  }

  #head(by: Mutation, now: number): Head {
    return { namespace: this.name, now, by };
  }

  protected exists(): boolean {
    return this.name === DEFAULT_NAMESPACE || (this.isBorn && exists(this.sql, this.name));
  }

  /** Of what the deployment's instances were given another version than there is now. */
  protected changedReferences(active: Active | null): string[] {
    return this.isBorn && active?.manifest != null
      ? changedReferences(this.sql, active.id, active.manifest, this.name)
      : [];
  }
}
