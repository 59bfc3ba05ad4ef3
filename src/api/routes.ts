import type { Route } from "../route.ts";
import { AUDIT } from "./audit.ts";
import { CONFIGS } from "./configs.ts";
import { CONNECTIONS } from "./connections.ts";
import { DATABASE_CREDENTIALS } from "./database-credentials.ts";
import { DATABASE_INSTANCE } from "./database-instance.ts";
import { DATABASES } from "./databases.ts";
import { DEPLOYMENT_EVENTS } from "./deployment-events.ts";
import { DEPLOYMENT_EXEC } from "./deployment-exec.ts";
import { DEPLOYMENT_LOGS } from "./deployment-logs.ts";
import { DEPLOYMENT_METRICS } from "./deployment-metrics.ts";
import { DEPLOYMENTS } from "./deployments.ts";
import { documentation } from "./documentation.ts";
import { GATEWAY_LINK } from "./gateway-link.ts";
import { HEALTH } from "./health.ts";
import { HOOKS } from "./hooks.ts";
import { HOST_LINK } from "./host-link.ts";
import { HOSTS } from "./hosts.ts";
import { INSTANCE_ACTION_ROUTES } from "./instance-actions.ts";
import { INSTANCE_LOGS } from "./instance-logs.ts";
import { INSTANCES } from "./instances.ts";
import { JOIN_TOKENS } from "./join-tokens.ts";
import { KEEPERS } from "./keepers.ts";
import { LOGIN } from "./login.ts";
import { METRICS } from "./metrics.ts";
import { NAMESPACES } from "./namespaces.ts";
import { NODE } from "./node.ts";
import { ROLLOUTS } from "./rollouts.ts";
import { SCHEDULES } from "./schedules.ts";
import { SECRET_RESEAL } from "./secret-reseal.ts";
import { SECRETS } from "./secrets.ts";
import { STREAM_TICKETS } from "./stream-tickets.ts";
import { TOKENS } from "./tokens.ts";
import { USERS } from "./users.ts";
import { VOLUMES } from "./volumes.ts";
import { WEBHOOK_DELIVERIES } from "./webhook-deliveries.ts";
import { WEBHOOKS } from "./webhooks.ts";
import { WHOAMI } from "./whoami.ts";
import { WORKLOAD_REPORTS } from "./workload-reports.ts";

/** Every route, in the order in which the documentation shows them. */
export const ROUTES: readonly Route[] = [
  ...DEPLOYMENTS,
  ...ROLLOUTS,
  ...DEPLOYMENT_EVENTS,
  ...DEPLOYMENT_LOGS,
  ...DEPLOYMENT_METRICS,
  ...DEPLOYMENT_EXEC,
  ...SCHEDULES,
  ...CONNECTIONS,
  ...INSTANCES,
  ...INSTANCE_ACTION_ROUTES,
  ...INSTANCE_LOGS,
  ...DATABASE_INSTANCE,
  ...WORKLOAD_REPORTS,
  ...NAMESPACES,
  ...CONFIGS,
  ...SECRETS,
  ...SECRET_RESEAL,
  ...VOLUMES,
  ...DATABASES,
  ...DATABASE_CREDENTIALS,
  ...KEEPERS,
  ...HOSTS,
  ...JOIN_TOKENS,
  ...LOGIN,
  ...USERS,
  ...STREAM_TICKETS,
  ...TOKENS,
  ...WEBHOOKS,
  ...WEBHOOK_DELIVERIES,
  ...HOOKS,
  ...WHOAMI,
  ...AUDIT,
  ...METRICS,
  ...NODE,
  ...HOST_LINK,
  ...GATEWAY_LINK,
  ...HEALTH,
  ...documentation(() => ROUTES),
];
