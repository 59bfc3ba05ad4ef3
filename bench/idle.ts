import type { Figure } from "./figure.ts";
export const idle: Figure = { name: "idle", about: "", measure: async () => [] };
