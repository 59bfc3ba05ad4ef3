// Before each file of the project `worker`: a password costs a tenth of a second, and half of the files make some.
import { costFromNowOn } from "../objects/user/password.ts";

export const CHEAP = { m: 128, t: 1, p: 1 };

costFromNowOn(CHEAP);
