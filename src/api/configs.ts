import { z } from "zod";
import {
  ConfigCreate,
  ConfigUpdate,
  ConfigView,
  configUpdateViolations,
  configViolations,
} from "../../contract/config.ts";
import { ConfigId } from "../../contract/id.ts";
import { conditional, resource } from "../answer.ts";
import { CONFIG } from "../example.ts";
import { resourcesPage } from "../listing.ts";
import { checkedBy, inNamespace, namespaceOf, permitNamespace } from "../namespaced.ts";
import { unwrap } from "../problem.ts";
import { flag, limit, several } from "../query.ts";
import { route } from "../route.ts";

const params = { id: ConfigId };

export const CONFIGS = [
  route({
    method: "POST",
    path: "/configs",
    access: "configs:write",
    group: "Configs",
    summary: "Make a config",
    description:
      "Its namespace comes with it. What refers to it (`{configRef, key}` in an environment, or a volume of type `config`) and waits for it, goes on.",
    body: {
      schema: ConfigCreate,
      permit: permitNamespace,
      check: checkedBy(ConfigCreate, configViolations),
      example: { namespace: "shop", name: "web", data: '{"app.json":"{}"}' },
    },
    mutation: ["idempotency"],
    answers: {
      201: {
        description: "Made",
        schema: ConfigView,
        example: CONFIG,
        headers: { Location: "Address of the config" },
      },
    },
    problems: ["namespace_not_permitted", "name_taken"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const answer = unwrap(
        await inNamespace(ask.env, ask.body.namespace, (namespace) => namespace.createConfig(ask.body, mutation)),
      );
      return resource(answer, { location: `${ask.prefix}/configs/${(JSON.parse(answer.body) as ConfigView).id}` });
    },
  }),
  route({
    method: "GET",
    path: "/configs",
    access: "configs:read",
    group: "Configs",
    summary: "List configs",
    description: "Newest first, with their data. Filters of one kind are alternatives.",
    query: z.object({
      namespace: several(z.string()),
      name: several(z.string()),
      limit: limit(1000, 100),
      cursor: ConfigId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(ConfigView),
        example: [CONFIG],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: (ask) => resourcesPage(ask, "config", { names: ask.query.name }),
  }),
  route({
    method: "GET",
    path: "/configs/:id",
    access: "configs:read",
    group: "Configs",
    summary: "Read a config",
    params,
    answers: {
      200: { description: "The config", schema: ConfigView, example: CONFIG },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: async (ask) => {
      const id = ask.params.id as string;
      const namespace = await namespaceOf(ask, "config");
      return conditional(
        ask.request,
        unwrap(await inNamespace(ask.env, namespace, (object) => object.readResource("config", id))),
      );
    },
  }),
  route({
    method: "PUT",
    path: "/configs/:id",
    access: "configs:write",
    group: "Configs",
    summary: "Put a config's data anew",
    description:
      "What runs keeps the data that it was started with; what is started later gets the new one. Applying the manifest again, though it is the same, replaces what runs.",
    params,
    body: {
      schema: ConfigUpdate,
      check: checkedBy(ConfigUpdate, configUpdateViolations),
      example: { name: "web", data: '{"app.json":"{}"}' },
    },
    mutation: ["idempotency", "if-match"],
    answers: { 200: { description: "As it is now", schema: ConfigView, example: CONFIG } },
    problems: ["name_taken"],
    handle: async (ask) => {
      const id = ask.params.id as string;
      const mutation = await ask.mutation();
      const namespace = await namespaceOf(ask, "config");
      return resource(
        unwrap(await inNamespace(ask.env, namespace, (object) => object.updateConfig(id, ask.body, mutation))),
      );
    },
  }),
  route({
    method: "DELETE",
    path: "/configs/:id",
    access: "configs:write",
    group: "Configs",
    summary: "Delete a config",
    description: "What runs keeps its data; what is started later waits until it is there again.",
    params,
    query: z.object({
      force: flag.optional().describe("`false`: refused while deployments refer to it. Otherwise it is deleted"),
    }),
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "Deleted" } },
    problems: ["still_referenced"],
    handle: async (ask) => {
      const id = ask.params.id as string;
      const mutation = await ask.mutation();
      const careful = ask.query.force === false;
      const namespace = await namespaceOf(ask, "config");
      return resource(
        unwrap(
          await inNamespace(ask.env, namespace, (object) => object.deleteResource("config", id, careful, mutation)),
        ),
      );
    },
  }),
];
