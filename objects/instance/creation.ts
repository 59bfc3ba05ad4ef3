import type { InstanceIdentity, InstanceSpec } from "../../contract/instance.ts";
import type { InstanceSize } from "../../contract/instance-size.ts";
import type { Mutation } from "../../contract/request.ts";

/** What an instance is made from. */
export type InstanceCreation = {
  identity: Omit<InstanceIdentity, "database_id">;
  spec: InstanceSpec;
  mutation: Mutation;
  mayCreateNamespace: boolean;
};

/** What some actions are asked with. */
export type ActInput = { build_id?: string | undefined; size?: InstanceSize | undefined };
