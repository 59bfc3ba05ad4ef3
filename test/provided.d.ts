import "vitest";

declare module "vitest" {
  /** What vitest.config.ts hands to the tests inside workerd: `inject("rootToken")`. */
  interface ProvidedContext {
    rootToken: string;
    /** The address of the WebhookReceiver. */
    receiver: string;
  }
}
