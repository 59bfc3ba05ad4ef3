import type { Route } from "../route.ts";
import { DEPLOYMENTS } from "./deployments.ts";
import { HEALTH } from "./health.ts";

/** Every route that there is. */
export const ROUTES: readonly Route[] = [...HEALTH, ...DEPLOYMENTS];
