import { remote } from "../objects/remote.ts";
import { USER_DIRECTORY } from "../objects/user/record.ts";

/** The one object that knows all users. */
export const userDirectory = (env: Env) => () => remote(env.USER, USER_DIRECTORY);
