import { z } from "zod";

export const KeepersView = z.object({
  setting_error: z.string().nullable().describe("Why `KEEPERS` cannot be read; null when it can"),
  asked_host: z.string().nullable().describe("The host that asked them"),
  keepers: z.array(
    z.object({
      name: z.string(),
      url: z.string(),
      answers: z.boolean().nullable().describe("Null when nobody could ask"),
      message: z.string(),
    }),
  ),
});
export type KeepersView = z.infer<typeof KeepersView>;
