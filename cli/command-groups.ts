import type { Command } from "commander";
import type { Surroundings } from "./session.ts";

export type Define = (program: Command, around: Surroundings) => void;

/** The commands, as the help lists them: by all names that each has, how it is loaded. */
export const COMMAND_GROUPS: readonly (readonly [title: string, Readonly<Record<string, () => Promise<Define>>>])[] = [
  [
    "Run:",
    {
      up: async () => (await import("./up/command.ts")).upCommand,
      demo: async () => (await import("./demo/command.ts")).demoCommand,
      agent: async () => (await import("./agent.ts")).agentCommand,
      keeper: async () => (await import("./keeper.ts")).keeperCommand,
      gateway: async () => (await import("./gateway.ts")).gatewayCommand,
    },
  ],
  [
    "Deploy:",
    {
      apply: async () => (await import("./apply.ts")).applyCommand,
      diff: async () => (await import("./diff.ts")).diffCommand,
      "deployment deployments": async () => (await import("./deployment/commands.ts")).deploymentCommands,
      explain: async () => (await import("./deployment/explain.ts")).explainCommand,
      "schedule schedules": async () => (await import("./schedule/commands.ts")).scheduleCommands,
      "database databases db": async () => (await import("./database/commands.ts")).databaseCommands,
      "connection connections": async () => (await import("./connection/commands.ts")).connectionCommands,
      "instance instances": async () => (await import("./instance/commands.ts")).instanceCommands,
      "config configs": async () => (await import("./config/commands.ts")).configCommands,
      "secret secrets": async () => (await import("./secret/commands.ts")).secretCommands,
      "volume volumes": async () => (await import("./volume/commands.ts")).volumeCommands,
      "namespace namespaces ns": async () => (await import("./namespace/commands.ts")).namespaceCommands,
      "hook hooks": async () => (await import("./hook/commands.ts")).hookCommands,
    },
  ],
  [
    "Steer:",
    {
      "host hosts": async () => (await import("./host/commands.ts")).hostCommands,
      node: async () => (await import("./node/commands.ts")).nodeCommands,
      login: async () => (await import("./login.ts")).loginCommand,
      logout: async () => (await import("./login.ts")).logoutCommand,
      "user users": async () => (await import("./user/commands.ts")).userCommands,
      "token tokens": async () => (await import("./token/commands.ts")).tokenCommands,
      "webhook webhooks": async () => (await import("./webhook/commands.ts")).webhookCommands,
      audit: async () => (await import("./audit.ts")).auditCommand,
      "context contexts": async () => (await import("./context/commands.ts")).contextCommands,
      doctor: async () => (await import("./doctor.ts")).doctorCommand,
    },
  ],
];
