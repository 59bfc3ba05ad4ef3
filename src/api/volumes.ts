import { z } from "zod";
import { VolumeId } from "../../contract/id.ts";
import { VolumeCreate, VolumeView, volumeViolations } from "../../contract/volume.ts";
import { conditional, resource } from "../answer.ts";
import { VOLUME } from "../example.ts";
import { resourcesPage } from "../listing.ts";
import { checkedBy, inNamespace, namespaceOf, permitNamespace } from "../namespaced.ts";
import { unwrap } from "../problem.ts";
import { flag, limit, several } from "../query.ts";
import { route } from "../route.ts";
import { labelFilter } from "./deployments.ts";

const params = { id: VolumeId };

export const VOLUMES = [
  route({
    method: "POST",
    path: "/volumes",
    access: "volumes:write",
    group: "Volumes",
    summary: "Register a volume",
    description:
      "An entry for a named volume, before any manifest names it. Nothing is made on a host by it: each host makes its own when an instance that mounts it comes there. The namespace has to be there.",
    body: {
      schema: VolumeCreate,
      permit: permitNamespace,
      check: checkedBy(VolumeCreate, volumeViolations),
      example: { namespace: "shop", name: "uploads" },
    },
    mutation: ["idempotency"],
    answers: {
      201: {
        description: "Registered",
        schema: VolumeView,
        example: VOLUME,
        headers: { Location: "Address of the volume" },
      },
    },
    problems: ["namespace_not_permitted", "name_taken", "not_found"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const answer = unwrap(
        await inNamespace(ask.env, ask.body.namespace, (namespace) => namespace.createVolume(ask.body, mutation)),
      );
      return resource(answer, { location: `${ask.prefix}/volumes/${(JSON.parse(answer.body) as VolumeView).id}` });
    },
  }),
  route({
    method: "GET",
    path: "/volumes",
    access: "volumes:read",
    group: "Volumes",
    summary: "List volumes",
    description: "Newest first. Filters of one kind are alternatives, several labels must all be there.",
    query: z.object({
      namespace: several(z.string()),
      name: several(z.string()),
      label: several(z.string()).describe("`key` or `key=value`"),
      limit: limit(1000, 1000),
      cursor: VolumeId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(VolumeView),
        example: [VOLUME],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: (ask) => resourcesPage(ask, "volume", { names: ask.query.name, labels: ask.query.label.map(labelFilter) }),
  }),
  route({
    method: "GET",
    path: "/volumes/:id",
    access: "volumes:read",
    group: "Volumes",
    summary: "Read a volume",
    params,
    answers: {
      200: { description: "The volume", schema: VolumeView, example: VOLUME },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: async (ask) => {
      const id = ask.params.id as string;
      const namespace = await namespaceOf(ask, "volume");
      return conditional(
        ask.request,
        unwrap(await inNamespace(ask.env, namespace, (object) => object.readResource("volume", id))),
      );
    },
  }),
  route({
    method: "DELETE",
    path: "/volumes/:id",
    access: "volumes:write",
    group: "Volumes",
    summary: "Delete a volume's entry",
    description:
      "Refused while deployments mount it, unless forced. The data stays on every host that has some: it is taken away there, by `docker volume rm <namespace>_<name>`.",
    params,
    query: z.object({ force: flag.optional().describe("Also while deployments mount it") }),
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "Its entry is deleted; its data is not" } },
    problems: ["still_referenced"],
    handle: async (ask) => {
      const id = ask.params.id as string;
      const mutation = await ask.mutation();
      const careful = ask.query.force !== true;
      const namespace = await namespaceOf(ask, "volume");
      return resource(
        unwrap(
          await inNamespace(ask.env, namespace, (object) => object.deleteResource("volume", id, careful, mutation)),
        ),
      );
    },
  }),
];
