import { HostId } from "../../contract/id.ts";
import { isMintedHostId } from "../mint.ts";
import { fail } from "../problem.ts";
import { type Ask, route } from "../route.ts";

const params = { id: HostId };
/** A frame of a full restatement holds at most 500 workloads or observations; nothing larger is read. */
const FRAME_LIMIT = 16 * 1_048_576;
const HEADER_LIMIT = 8_192;

/** To the HostObject as it came: whether it is the host's agent, the signature says, and only the HostObject can check it. */
async function forward({ env, params, request }: Ask): Promise<Response> {
  const id = params.id as string;
  if (!(await isMintedHostId(env, id))) fail("not_found", "There is no such host.");
  return env.HOST.getByName(id).fetch(request);
}

export const HOST_LINK = [
  route({
    method: "GET",
    path: "/hosts/:id/tunnel",
    access: "signed",
    group: "Agents",
    summary: "Open a host's tunnel",
    description:
      "A WebSocket, opened by the host's agent with the header `Lamplighter-Connect`: a sealed `connect` message, signed with the key that the host enrolled with. What is sent over it is in `contract/frame.ts`.",
    params,
    answers: { 101: { description: "The tunnel is open" } },
    problems: ["not_found", "host_removed", "unauthenticated"],
    handle: (ask) => {
      const { headers } = ask.request;
      const connect = headers.get("lamplighter-connect");
      if (headers.get("upgrade")?.toLowerCase() !== "websocket" || !connect || connect.length > HEADER_LIMIT) {
        fail(
          "unauthenticated",
          "A tunnel is opened by an enrolled agent, as a WebSocket with the header Lamplighter-Connect.",
        );
      }
      return forward(ask);
    },
  }),
  route({
    method: "POST",
    path: "/hosts/:id/frames",
    access: "signed",
    group: "Agents",
    summary: "Send a frame",
    description:
      "One sealed frame of an agent that is reached by calls, signed with the key that the host enrolled with. The answer is a sealed frame.",
    params,
    answers: { 200: { description: "The control plane's frame", media: ["application/json"] } },
    problems: ["not_found", "action_not_allowed", "host_removed", "unauthenticated", "body_too_large"],
    handle: (ask) => {
      const length = ask.request.headers.get("content-length");
      if (length === null || Number(length) > FRAME_LIMIT) {
        fail(
          "body_too_large",
          `A frame must say its Content-Length, and be at most ${FRAME_LIMIT.toLocaleString("en")} bytes.`,
        );
      }
      return forward(ask);
    },
  }),
];
