import { app } from "./app.ts";

export { BuildQueueObject } from "../objects/build-queue/object.ts";
export { ConnectionObject } from "../objects/connection/object.ts";
export { DatabaseObject } from "../objects/database/object.ts";
export { DeploymentObject } from "../objects/deployment/object.ts";
export { HookObject } from "../objects/hook/object.ts";
export { HostObject } from "../objects/host/object.ts";
export { IndexObject } from "../objects/index/object.ts";
export { InstanceObject } from "../objects/instance/object.ts";
export { NamespaceObject } from "../objects/namespace/object.ts";
export { ScheduleObject } from "../objects/schedule/object.ts";
export { TokenObject } from "../objects/token/object.ts";
export { UserDirectoryObject } from "../objects/user/object.ts";
export { WebhookObject } from "../objects/webhook/object.ts";

export default { fetch: app.fetch } satisfies ExportedHandler<Env>;
