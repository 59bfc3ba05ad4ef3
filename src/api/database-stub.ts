import { DatabaseId } from "../../contract/id.ts";
import { remote } from "../../objects/remote.ts";
import type { Ask } from "../route.ts";

export const params = { id: DatabaseId };

export const databaseStub = (ask: Ask) => () => remote(ask.env.DATABASE, ask.params.id as string);
