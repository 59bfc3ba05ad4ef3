import { type Command, Option } from "commander";
import { WEBHOOK_FORMATS } from "../../contract/webhook.ts";
import { collect } from "../command.ts";
import { keyValues } from "../key-values.ts";

export type FilterOptions = {
  event?: string[];
  namespace?: string[];
  label?: string[];
  format?: string;
  ringHeaders?: boolean;
  description?: string;
};

/** The flags that say what a webhook is told of, and in which form. */
export const filterOptions = (command: Command): Command =>
  command
    .option(
      "-e, --event <type>",
      "a type (deployment.error), a family (deployment.*) or * (repeat for several)",
      collect,
    )
    .option("-n, --namespace <namespace>", "only of this namespace (repeat for several); otherwise of all", collect)
    .option("-l, --label <key=value>", "only of what has this label (repeat: all of them)", collect)
    .addOption(
      new Option("--format <format>", "standard: type, timestamp, data; ring: the data alone").choices(WEBHOOK_FORMATS),
    )
    .option("--ring-headers", "also X-Ring-Event and X-Ring-Signature; --format ring has them anyway")
    .option("--description <text>", "what it is for");

/** What of them was given, as the API takes it. */
export function filters(options: FilterOptions): Record<string, unknown> {
  const { event, namespace, label, format, ringHeaders, description } = options;
  return {
    ...(event === undefined ? {} : { events: event }),
    ...(namespace === undefined ? {} : { namespaces: namespace }),
    ...(label === undefined ? {} : { labels: keyValues(label, "--label") }),
    ...(format === undefined ? {} : { format }),
    ...(ringHeaders === undefined ? {} : { ring_headers: ringHeaders }),
    ...(description === undefined ? {} : { description }),
  };
}
