import "vitest";

declare module "vitest" {
  /** What vitest.config.ts and global setups hand to tests: `inject("rootToken")`. */
  interface ProvidedContext {
    rootToken: string;
    /** The address of the WebhookReceiver. */
    receiver: string;
    /** The path of the bundled Worker. */
    worker: string;
  }
}
