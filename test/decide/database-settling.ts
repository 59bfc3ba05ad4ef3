import type { Gateway } from "./database-parts.ts";
import type { DatabaseWorld } from "./database-world.ts";

export const gatewayOf = (world: DatabaseWorld): Gateway => world.gateways[0] as Gateway;

/** Everything that waits is done until nothing is left to do. */
export function settle(world: DatabaseWorld, ms: number): void {
  for (const until = world.now + ms; world.now < until; ) {
    for (const gateway of world.gateways) while (gateway.inbox.length > 0) world.hear(gateway);
    while (world.toDatabase.length > 0) world.toDatabase.shift()?.say();
    for (const key of [...world.letters]) world.deliver(key);
    for (const host of world.hosts) world.sync(host);
    while (world.reports.length > 0) report(world, world.reports.shift());
    world.pass(100);
    // The sweep of the lists looks after what sits in a passing state.
    if (Math.floor(world.now / 30_000) !== Math.floor((world.now - 100) / 30_000)) world.do({ type: "demand" });
    for (const gateway of world.gateways) {
      if (!gateway.up && gateway.waiting + gateway.sessions.length > 0) world.dial(gateway);
      if (gateway.up && Math.floor(world.now / 10_000) !== Math.floor((world.now - 100) / 10_000)) world.say(gateway);
    }
  }
}

export function report(world: DatabaseWorld, one: DatabaseWorld["reports"][number] | undefined): void {
  if (one) world.do({ type: "observed", host_id: one.host, term: one.term, observation: one.observation });
}
