import { actorOf } from "../../contract/scope.ts";
import { timestamp } from "../../contract/timestamp.ts";
import { Credentials, LoggedIn, SESSION_IDLE_MS, SESSION_MOST_MS } from "../../contract/user.ts";
import { remote } from "../../objects/remote.ts";
import { forget, ROOT } from "../access.ts";
import { jsonText } from "../answer.ts";
import { clientAddress } from "../client-address.ts";
import { USER } from "../example.ts";
import { fail, unwrap } from "../problem.ts";
import { route } from "../route.ts";
import { call } from "../stub.ts";
import { openSession } from "../token-secret.ts";
import { userDirectory } from "../user-directory.ts";

const days = (ms: number): number => ms / 86_400_000;

export const LOGIN = [
  route({
    method: "POST",
    path: "/login",
    access: "open",
    group: "Users",
    summary: "Log in",
    description: `Answers a session's token. It may do what the user's role says, and ends after ${days(SESSION_IDLE_MS)} days without use, ${days(SESSION_MOST_MS)} days at the latest, at \`POST /logout\`, and when the role changes. After wrong passwords the next attempt has to wait.`,
    body: { schema: Credentials, example: { username: "ada", password: "correct horse battery" } },
    answers: {
      200: {
        description: "Logged in",
        schema: LoggedIn,
        example: {
          token: "lamp_01k9j4x2y8n6r4t0v3w7z5a1b9_2vN8…",
          token_type: "Bearer",
          expires_at: "2027-02-19T09:00:00.000Z",
          user: USER,
        },
      },
    },
    problems: ["invalid_credentials", "too_many_attempts"],
    handle: async (ask) => {
      const address = clientAddress(ask.request, ask.env);
      // Once: an attempt that was made twice would count twice.
      const opened = unwrap(
        await call(userDirectory(ask.env), (users) => users.login(ask.body, address, ask.requestId), 1),
      );
      const answer: LoggedIn = {
        token: await openSession(ask.env, opened, ask.requestId),
        token_type: "Bearer",
        expires_at: timestamp(opened.expires_at),
        user: opened.user,
      };
      return jsonText(JSON.stringify(answer), { "cache-control": "no-store" });
    },
  }),
  route({
    method: "POST",
    path: "/logout",
    access: "any",
    group: "Users",
    summary: "Log out",
    description:
      "Ends the token that the request carries, whatever kind it is. The root token cannot be ended so: it is in no list, and whoever runs the control plane changes it.",
    answers: { 204: { description: "The token is worth nothing any more" } },
    problems: ["not_permitted"],
    handle: async (ask) => {
      const { token_id } = ask.principal;
      if (token_id === ROOT.token_id)
        fail("not_permitted", "The root token cannot log out: to replace it, change ROOT_TOKEN_HASH.");
      const by = { actor: actorOf(ask.principal), request_id: ask.requestId };
      await call(
        () => remote(ask.env.TOKEN, token_id),
        (token) => token.logout(by),
      );
      forget(token_id);
      return new Response(null, { status: 204 });
    },
  }),
];
