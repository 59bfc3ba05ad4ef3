import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, test, vi } from "vitest";
import { commit } from "../../objects/alarm.ts";
import { migrate } from "../../objects/migrate.ts";
import { Outbox, post } from "../../objects/outbox.ts";

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Stops the clock at a moment. Timers go on as they are. */
function clock(now: number): number {
  vi.useFakeTimers({ toFake: ["Date"], now });
  return now;
}

type Delivery = { key: string; end: () => void; fail: () => void };

/** An outbox over real storage, whose deliveries end when a test says so. */
class Letters {
  readonly storage: DurableObjectStorage;
  /** The subjects of all deliveries, in the order in which they began. */
  readonly began: string[] = [];
  readonly #underWay: Delivery[] = [];
  most = 0;
  /** What a delivery does before it waits. */
  first: (key: string) => void = () => {};
  #outbox: Outbox;

  constructor(storage: DurableObjectStorage) {
    this.storage = storage;
    this.#outbox = this.#open();
  }

  #open(): Outbox {
    return new Outbox(this.storage, async (key) => {
      expect(this.underWay).not.toContain(key);
      this.began.push(key);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.#underWay.push({ key, end: resolve, fail: () => reject(new Error("not now")) });
      this.most = Math.max(this.most, this.#underWay.length);
      this.first(key);
      await promise.finally(() => {
        const at = this.#underWay.findIndex((one) => one.key === key);
        this.#underWay.splice(at, 1);
      });
    });
  }

  get underWay(): string[] {
    return this.#underWay.map(({ key }) => key);
  }

  /** What is still to be sent. */
  get waiting(): string[] {
    return this.storage.sql
      .exec<{ key: string }>("SELECT key FROM outbox ORDER BY version")
      .toArray()
      .map(({ key }) => key);
  }

  /** As objects do: the letters are committed, and sent after that. */
  post(...keys: string[]): Promise<void> {
    commit(this.storage, () => {
      // A millisecond apart: of those that were posted in the same one, any may go first.
      for (const [i, key] of keys.entries()) post(this.storage.sql, key, Date.now() + i);
    });
    return this.drain();
  }

  drain(): Promise<void> {
    return this.#outbox.drain();
  }

  async end(key: string, how: "end" | "fail" = "end"): Promise<void> {
    const delivery = this.#underWay.find((one) => one.key === key);
    if (delivery === undefined) throw new Error(`${key} is not under way`);
    delivery[how]();
    await turn();
  }

  async endAll(): Promise<void> {
    for (await turn(); this.#underWay.length > 0; await turn()) for (const { end } of [...this.#underWay]) end();
  }

  /** The object is gone from memory in the middle of what it did; the storage stays. What was under way is never heard of again. */
  crash(): void {
    this.#underWay.length = 0;
    this.#outbox = this.#open();
  }
}

/** Lets everything happen that does not wait for anything. */
const turn = () => scheduler.wait(0);

/** In an object that nobody made: its own alarm and letters do not interfere. */
const withLetters = (work: (letters: Letters) => Promise<void>) => {
  const stub = env.NAMESPACE.getByName(`outbox-${crypto.randomUUID()}`);
  return runInDurableObject(stub, async (_, { storage }) => {
    migrate(storage, []);
    await work(new Letters(storage));
  });
};

const names = (count: number) => Array.from({ length: count }, (_, i) => `letter ${String(i).padStart(2, "0")}`);

describe("the outbox", () => {
  test("a delivery that hangs holds up no other, and the drain waits for it", () =>
    withLetters(async (letters) => {
      let drained = false;
      void letters.post("slow", ...names(12)).then(() => {
        drained = true;
      });
      await turn();
      while (letters.underWay.length > 1) await letters.end(letters.underWay[1] as string);
      expect(letters.waiting).toEqual(["slow"]);
      void letters.post("late");
      await turn();
      await letters.end("late");
      expect({ waiting: letters.waiting, drained }).toEqual({ waiting: ["slow"], drained: false });
      await letters.end("slow");
      expect({ waiting: letters.waiting, drained }).toEqual({ waiting: [], drained: true });
    }));

  test("five are under way at a time, in the order in which they were posted, each once", () =>
    withLetters(async (letters) => {
      const keys = names(14).reverse();
      void letters.post(...keys);
      await turn();
      expect(letters.began).toEqual(keys.slice(0, 5));
      await letters.end(keys[3] as string);
      expect(letters.underWay).toEqual([0, 1, 2, 4, 5].map((i) => keys[i]));
      await letters.endAll();
      expect({ began: letters.began, most: letters.most, waiting: letters.waiting }).toEqual({
        began: keys,
        most: 5,
        waiting: [],
      });
    }));

  test("a letter that is posted again while it is under way goes out again after that", () =>
    withLetters(async (letters) => {
      const drained = letters.post("a");
      await turn();
      for (let i = 0; i < 3; i++) void letters.post("a", "b");
      await turn();
      expect(letters.began).toEqual(["a", "b"]);
      await letters.end("a");
      expect(letters.began).toEqual(["a", "b", "a"]);
      await letters.end("a");
      await letters.end("b");
      await drained;
      expect({ began: letters.began, waiting: letters.waiting }).toEqual({ began: ["a", "b", "a"], waiting: [] });
    }));

  test("a delivery that posts before it waits, also itself, is not begun within itself, nor within who posts", () =>
    withLetters(async (letters) => {
      let within = 0;
      letters.first = (key) => {
        expect(within).toBe(0);
        within += 1;
        if (letters.began.length < 50) void letters.post(key, "other");
        within -= 1;
      };
      commit(letters.storage, () => {
        void letters.post("self");
        expect(letters.began).toEqual([]);
      });
      expect(letters.began).toEqual([]);
      await letters.endAll();
      expect({ waiting: letters.waiting, most: letters.most }).toEqual({ waiting: [], most: 2 });
    }));

  test("whatever is posted in the very turn in which a drain ends is sent at once", () =>
    withLetters(async (letters) => {
      letters.first = (key) => void letters.end(key);
      for (let steps = 0; steps < 40; steps++) {
        void letters.post("first");
        for (let step = 0; step < steps; step++) await null;
        await letters.post(`second ${steps}`);
        expect(letters.waiting).toEqual([]);
        expect(letters.began.at(-1)).toBe(`second ${steps}`);
      }
    }));

  test("the lists wait for the others, but not long", () =>
    withLetters(async (letters) => {
      const now = clock(Date.now());
      void letters.post("index", ...names(7));
      await turn();
      expect(letters.began).toEqual(names(5));
      for (const key of names(7)) await letters.end(key);
      expect(letters.began).toEqual([...names(7), "index"]);
      await letters.end("index");

      letters.began.length = 0;
      void letters.post("index", "slow");
      await turn();
      clock(now + 49);
      void letters.drain();
      await turn();
      expect(letters.began).toEqual(["slow"]);
      clock(now + 50);
      while (letters.began.length < 2) await turn();
      expect(letters.underWay).toEqual(["slow", "index"]);
      await letters.endAll();
      expect(letters.waiting).toEqual([]);
    }));

  test("a letter that failed is tried again when its time comes, though another hangs", () =>
    withLetters(async (letters) => {
      vi.spyOn(console, "warn").mockImplementation(() => {});
      const now = clock(Date.now());
      void letters.post("slow", "refused");
      await turn();
      await letters.end("refused", "fail");
      void letters.drain();
      await turn();
      expect(letters.began).toEqual(["slow", "refused"]);
      clock(now + 250);
      while (letters.began.length < 3) await turn();
      expect(letters.underWay).toEqual(["slow", "refused"]);
      await letters.endAll();
      expect(letters.waiting).toEqual([]);
    }));

  test("a delivery that takes half a minute has failed, and is tried again later", () =>
    withLetters(async (letters) => {
      vi.spyOn(console, "warn").mockImplementation(() => {});
      const setTimer = globalThis.setTimeout;
      // Only this one: objects of other tests set theirs meanwhile.
      vi.spyOn(globalThis, "setTimeout").mockImplementation(((work: () => void, ms: number) =>
        setTimer(work, ms === 30_000 ? 1 : ms)) as typeof setTimeout);
      await letters.post("slow");
      expect(letters.waiting).toEqual(["slow"]);
      const { due_at } = letters.storage.sql.exec<{ due_at: number }>("SELECT due_at FROM outbox").one();
      expect(due_at).toBeGreaterThan(Date.now());
    }));

  test("after a crash, what was under way or waited is sent, and what had been delivered is not", () =>
    withLetters(async (letters) => {
      void letters.post(...names(7));
      await turn();
      await letters.end("letter 01");
      letters.crash();
      letters.began.length = 0;
      void letters.drain();
      await letters.endAll();
      expect(letters.began.toSorted()).toEqual(names(7).filter((key) => key !== "letter 01"));
      expect(letters.waiting).toEqual([]);
    }));

  test("a letter is settled in the turn in which its delivery ends", () =>
    withLetters(async (letters) => {
      void letters.post("a", "b");
      await turn();
      const seen = new Promise<string[]>((resolve) => {
        letters.end("a").catch(() => {});
        setTimeout(() => resolve(letters.waiting), 0);
      });
      expect(await seen).toEqual(["b"]);
      await letters.endAll();
    }));
});
