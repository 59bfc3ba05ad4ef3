import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { expect, it, onTestFinished, vi } from "vitest";
import { setTimer } from "../../objects/alarm.ts";
import type { TokenObject } from "../../objects/token/object.ts";

const MINUTE = 60_000;
const info = (lateMs: number) => ({ isRetry: false, retryCount: 0, scheduledTime: Date.now() - lateMs });

/** A token object with a timer that was due a minute ago. */
async function overdue(): Promise<DurableObjectStub<TokenObject>> {
  const stub = env.TOKEN.getByName(`tok_${crypto.randomUUID()}`);
  await stub.mintKey();
  await runInDurableObject(stub, (_, { storage }) => setTimer(storage.sql, "prune", Date.now() - MINUTE));
  return stub;
}

const timers = (stub: DurableObjectStub<TokenObject>) =>
  runInDurableObject(stub, (_, { storage }) => storage.sql.exec("SELECT * FROM timer").toArray().length);

it("an alarm that rings late with many others is set anew within ten seconds, and does its work then", async () => {
  const herd = await Promise.all(Array.from({ length: 60 }, overdue));
  // All at one moment, however busy the machine is, and later than any place in the line that alarms of other tests were given.
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 20_000 });
  onTestFinished(() => void vi.useRealTimers());
  const waits = await Promise.all(
    herd.map((stub) =>
      runInDurableObject(stub, async (token: TokenObject, { storage }) => {
        await token.alarm(info(MINUTE));
        const at = await storage.getAlarm();
        return at === null ? 0 : at - Date.now();
      }),
    ),
  );
  const postponed = herd.filter((_, i) => (waits[i] as number) > 0);
  vi.useRealTimers();
  expect(postponed.length).toBeGreaterThan(10);
  expect(herd.length - postponed.length).toBeGreaterThan(10);
  expect(Math.max(...waits)).toBeLessThan(10_000);
  for (const stub of postponed) {
    // By itself, or by our hand: it is on time now, and does not wait again.
    await runDurableObjectAlarm(stub);
    expect(await timers(stub)).toBe(0);
  }
});

it("one that is called for goes on at once, and so does one that is repeated", async () => {
  await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const stub = await overdue();
      await runInDurableObject(stub, (token: TokenObject) =>
        token.alarm(i % 2 ? undefined : { ...info(MINUTE), isRetry: true }),
      );
      expect(await timers(stub)).toBe(0);
    }),
  );
});
