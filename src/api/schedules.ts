import { z } from "zod";
import { ScheduleId } from "../../contract/id.ts";
import { RunView, type ScheduleAction, ScheduleBody, ScheduleStatus, ScheduleView } from "../../contract/schedule.ts";
import { type CheckedSchedule, checkSchedule } from "../../contract/schedule-check.ts";
import { remote } from "../../objects/remote.ts";
import { faultOf } from "../../objects/schedule/times.ts";
import { conditional, jsonText, resource } from "../answer.ts";
import { journalStream, startOf, wantsStream } from "../event-stream.ts";
import { SCHEDULE, SCHEDULE_BODY } from "../example.ts";
import { resourcesPage } from "../listing.ts";
import { mayCreateNamespace, permitNamespace } from "../namespaced.ts";
import { unwrap } from "../problem.ts";
import { flag, limit, several } from "../query.ts";
import { type Ask, type BodyRule, type Route, route } from "../route.ts";
import { call } from "../stub.ts";
import { EVENT_ANSWERS, EventQuery } from "./deployment-events.ts";

const params = { id: ScheduleId };
const scheduleStub = (ask: Ask) => () => remote(ask.env.SCHEDULE, ask.params.id as string);

const DryRun = z.object({
  dry_run: z.literal(true),
  action: z.enum(["create", "update", "unchanged"]).describe("What applying it would do"),
  schedule_id: z.string().nullable(),
});

const body: BodyRule<CheckedSchedule> = {
  schema: ScheduleBody as unknown as z.ZodType<CheckedSchedule>,
  permit: permitNamespace,
  check: (value) => {
    const checked = checkSchedule(value, faultOf);
    return checked.ok ? { ok: true, value: checked.schedule } : checked;
  },
  example: SCHEDULE_BODY,
};

const ACTIONS = {
  trigger: "Run a schedule's job now",
  suspend: "Suspend a schedule: start nothing until it is resumed",
  resume: "Resume a schedule",
} as const satisfies Partial<Record<ScheduleAction, string>>;

const DESCRIPTIONS = {
  trigger: "Also while it is suspended. With the policy `forbid` it is refused while a run is under way.",
  suspend: "A run that is under way goes on.",
  resume: "It goes on with its next time; what passed while it was suspended was not missed.",
};

const act = (action: keyof typeof ACTIONS): Route =>
  route({
    method: "POST",
    path: `/schedules/:id/${action}`,
    access: "schedules:write",
    group: "Schedules",
    summary: ACTIONS[action],
    description: DESCRIPTIONS[action],
    params,
    mutation: ["idempotency", "if-match"],
    answers: {
      200: { description: "The schedule; done already is success too", schema: ScheduleView, example: SCHEDULE },
    },
    problems: ["action_not_allowed"],
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const { namespaces } = ask.principal;
      return resource(unwrap(await call(scheduleStub(ask), (schedule) => schedule.act(action, mutation, namespaces))));
    },
  });

export const SCHEDULES = [
  route({
    method: "POST",
    path: "/schedules",
    access: "schedules:write",
    group: "Schedules",
    summary: "Apply a schedule",
    description:
      "Makes a schedule true under its name: a name that is free gets a new schedule, one that is there is changed, and what says so already is left as it is. Each run is a deployment of kind job, named `<schedule>-<time in UTC>`, with the label `lamplighter.schedule`.",
    query: z.object({
      dry_run: flag.optional().describe("Check everything and say what would happen, without doing it"),
    }),
    body,
    mutation: ["idempotency", "if-match"],
    answers: {
      201: {
        description: "A new schedule",
        schema: ScheduleView,
        example: SCHEDULE,
        headers: { Location: "Address of the new schedule" },
      },
      200: {
        description: "Changed, or there already; or, with `dry_run`, what would happen",
        schema: z.union([ScheduleView, DryRun]),
      },
    },
    problems: ["namespace_not_permitted", "secret_key_missing"],
    handle: async (ask) => {
      const namespace = () => remote(ask.env.NAMESPACE, ask.body.namespace);
      if (ask.query.dry_run === true) {
        const would = await call(namespace, (object) => object.wouldApplySchedule(ask.body));
        return jsonText(JSON.stringify({ dry_run: true, ...would }));
      }
      const mutation = await ask.mutation();
      const mayCreate = mayCreateNamespace(ask.principal, ask.body.namespace);
      const applied = unwrap(
        await call(namespace, (object) => object.applySchedule({ ...ask.body, mutation }, mayCreate)),
      );
      const { id } = JSON.parse(applied.body) as ScheduleView;
      return resource(applied, applied.status === 201 ? { location: `${ask.prefix}/schedules/${id}` } : {});
    },
  }),
  route({
    method: "GET",
    path: "/schedules",
    access: "schedules:read",
    group: "Schedules",
    summary: "List schedules",
    description: "Newest first. Filters of one kind are alternatives.",
    query: z.object({
      namespace: several(z.string()),
      name: several(z.string()),
      status: several(ScheduleStatus),
      limit: limit(1000, 100),
      cursor: ScheduleId.optional().describe("From the `Link` header of the page before"),
    }),
    answers: {
      200: {
        description: "One page",
        schema: z.array(ScheduleView),
        example: [SCHEDULE],
        headers: { Link: '`<…>; rel="next"` when there are more' },
      },
    },
    handle: async (ask) => {
      const { query } = ask;
      return resourcesPage(ask, "schedule", { names: query.name, statuses: query.status });
    },
  }),
  route({
    method: "GET",
    path: "/schedules/:id",
    access: "schedules:read",
    group: "Schedules",
    summary: "Read a schedule",
    params,
    answers: {
      200: { description: "The schedule", schema: ScheduleView, example: SCHEDULE },
      304: { description: "`If-None-Match` names its revision" },
    },
    handle: async (ask) => {
      const reply = await call(scheduleStub(ask), (schedule) => schedule.read(ask.principal.namespaces));
      return conditional(ask.request, unwrap(reply));
    },
  }),
  route({
    method: "DELETE",
    path: "/schedules/:id",
    access: "schedules:write",
    group: "Schedules",
    summary: "Delete a schedule",
    description: "Its runs are deleted with it, those that are under way included.",
    params,
    mutation: ["idempotency", "if-match"],
    answers: { 204: { description: "It is being deleted, or was already" } },
    handle: async (ask) => {
      const mutation = await ask.mutation();
      const { namespaces } = ask.principal;
      return resource(unwrap(await call(scheduleStub(ask), (schedule) => schedule.delete(mutation, namespaces))));
    },
  }),
  act("trigger"),
  act("suspend"),
  act("resume"),
  route({
    method: "GET",
    path: "/schedules/:id/runs",
    access: "schedules:read",
    group: "Schedules",
    summary: "Runs of a schedule",
    description: "Newest first: those under way, and as many finished ones as its history keeps.",
    params,
    answers: { 200: { description: "The runs", schema: z.array(RunView), example: [SCHEDULE.last_run] } },
    handle: async (ask) => {
      const reply = await call(scheduleStub(ask), (schedule) => schedule.runs(ask.principal.namespaces));
      return jsonText(unwrap(reply));
    },
  }),
  route({
    method: "GET",
    path: "/schedules/:id/events",
    access: "schedules:read",
    group: "Schedules",
    summary: "Events of a schedule",
    params,
    query: EventQuery,
    answers: EVENT_ANSWERS,
    handle: async (ask) => {
      const { namespaces } = ask.principal;
      const { level, limit, after } = ask.query;
      const stub = scheduleStub(ask);
      if (wantsStream(ask.request)) {
        return journalStream(startOf(ask.request, after), level, (seq, waitMs) =>
          call(stub, (schedule) => schedule.follow(namespaces, seq, waitMs)),
        );
      }
      const events = unwrap(await call(stub, (schedule) => schedule.events(namespaces, level ?? null, limit)));
      return jsonText(`[${events.join(",")}]`);
    },
  }),
];
