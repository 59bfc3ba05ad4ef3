import { z } from "zod";
import { jsonText } from "../answer.ts";
import { route } from "../route.ts";

export const HEALTH = [
  route({
    method: "GET",
    path: "/healthz",
    access: "open",
    group: "System",
    summary: "Whether the control plane answers",
    answers: {
      200: { description: "It answers", schema: z.object({ state: z.literal("UP") }), example: { state: "UP" } },
    },
    handle: () => jsonText('{"state":"UP"}'),
  }),
];
