// The pure half of the docker driver that reads: events, inspected containers, output, progress, statistics.
import { describe, expect, test } from "vitest";
import { stampSeconds } from "../../agent/docker/logs.ts";
import { BoundedText, Demultiplexer, type Frame, LineAssembler } from "../../agent/docker/output.ts";
import { JsonLines, PullProgress } from "../../agent/docker/progress.ts";
import {
  addressOf,
  engineEvent,
  exitOf,
  type Inspected,
  identityOf,
  notesOf,
  standing,
} from "../../agent/docker/sighting.ts";
import { cpuMark, cpuPercent, instanceStats } from "../../agent/docker/stats.ts";

const labels = {
  "lamplighter.host": "h",
  "lamplighter.runtime": "docker",
  "lamplighter.workload": "w-0",
  "lamplighter.generation": "3",
  "lamplighter.owner": "o",
};

describe("events", () => {
  const line = (Action: string, more: object = {}, Attributes: object = {}) =>
    `{"Type":"container","Action":"${Action}","Actor":{"ID":"c1","Attributes":${JSON.stringify({ ...labels, name: "n", ...Attributes })}},"time":1795252265,"timeNano":1795252265765331409${JSON.stringify(more).slice(1, -1) && `,${JSON.stringify(more).slice(1, -1)}`}}`;
  const read = (text: string, host = "h", runtime = "docker") => engineEvent(JSON.parse(text), text, host, runtime);

  test("an end, to the nanosecond", () => {
    expect(read(line("die", {}, { exitCode: "143" }))).toEqual({
      id: "w-0",
      generation: 3,
      owner: "o",
      containerId: "c1",
      name: "n",
      action: "die",
      at: 1795252265765,
      key: "1795252265765331409 c1 die",
      stamp: "1795252265.765331409",
      exitCode: 143,
      signal: null,
    });
  });

  test.each([
    ["start", "start"],
    ["oom", "oom"],
    ["kill", "kill"],
    ["destroy", "destroy"],
    ["remove", "destroy"],
    ["died", "die"],
  ])("%s is %s", (action, is) => expect(read(line(action))?.action).toBe(is));

  test.each(["create", "exec_create: /bin/sh", "cleanup", "attach", "top", "health_status: healthy"])(
    "%s says nothing",
    (action) => expect(read(line(action))).toBeNull(),
  );

  test("what is not ours says nothing", () => {
    expect(read(line("die"), "other")).toBeNull();
    expect(read(line("die"), "h", "podman")).toBeNull();
    expect(engineEvent({ Type: "network", Action: "destroy" }, "", "h", "docker")).toBeNull();
    expect(engineEvent({}, "", "h", "docker")).toBeNull();
  });

  test.each([{}, { ...labels, "lamplighter.generation": "x" }, { ...labels, "lamplighter.generation": "0" }, null])(
    "labels that name nothing: %j",
    (of) => expect(identityOf(of as never, "h", "docker")).toBeNull(),
  );
});

describe("exits", () => {
  test.each([
    [0, false, null, { code: 0, signal: null, oom: false, evidence: "kept" }],
    [137, false, null, { code: 137, signal: null }],
    [137, false, 9, { code: 137, signal: "SIGKILL" }],
    [143, false, 15, { code: 143, signal: "SIGTERM" }],
    [0, false, 15, { code: 0, signal: null }],
    [137, true, null, { code: 137, signal: "SIGKILL", oom: true }],
    [1, true, null, { code: 1, signal: null, oom: true }],
    [null, false, null, { code: null, evidence: "lost" }],
  ])("code %s, oom %s, sent %s", (code, oom, sent, exit) =>
    expect(exitOf(code, oom, sent, 5)).toMatchObject({ ...exit, at: 5 }),
  );
});

describe("inspected containers", () => {
  const info = (State: object, Networks: object = {}): Inspected =>
    ({
      Config: { Labels: { "lamplighter.namespace": "a" } },
      State,
      NetworkSettings: { Networks },
    }) as unknown as Inspected;

  test.each([
    [{ Running: false, StartedAt: "0001-01-01T00:00:00Z" }, "created"],
    [{ Running: true, StartedAt: "2026-01-01T00:00:00Z" }, "running"],
    [{ Running: false, Paused: true, StartedAt: "2026-01-01T00:00:00Z" }, "running"],
    [{ Running: false, StartedAt: "2026-01-01T00:00:00Z" }, "exited"],
  ])("%j is %s", (state, is) => expect(standing(info(state))).toBe(is));

  test.each([
    [{ lamplighter_a: { IPAddress: "10.0.0.2" } }, "10.0.0.2"],
    [{ other: { IPAddress: "10.0.0.3" }, lamplighter_a: { IPAddress: "10.0.0.2" } }, "10.0.0.2"],
    [{ lamplighter_a: { IPAddress: "", GlobalIPv6Address: "fd00::2" } }, "fd00::2"],
    [{ host: { IPAddress: "" } }, null],
    [{}, null],
  ])("%j answers at %s", (networks, address) => expect(addressOf(info({}, networks))).toBe(address));

  test.each([
    [
      ["Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded."],
      ["memory_unenforced"],
    ],
    [
      [
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
      ],
      [],
    ],
    [["Your kernel does not support CPU cfs quota. Quota discarded."], ["cpu_unenforced"]],
    [["Something new"], ["engine_warning"]],
    [null, []],
  ])("%j is noted as %j", (warnings, codes) => expect(notesOf(warnings).map((it) => it.code)).toEqual(codes));
});

/** Every way of cutting the bytes in two, then byte by byte. */
function* cuts(bytes: Buffer): Generator<Buffer[]> {
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
  yield [...bytes].map((byte) => Buffer.from([byte]));
}

const frame = (stream: 1 | 2, text: string | Buffer): Buffer => {
  const payload = Buffer.from(text as string);
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
};

describe("output", () => {
  test("frames come whole, whatever the chunks", () => {
    const bytes = Buffer.concat([frame(1, "one\n"), frame(2, ""), frame(2, "zwei ü\n"), frame(1, "three")]);
    for (const chunks of cuts(bytes)) {
      const demultiplexer = new Demultiplexer();
      const frames = chunks.flatMap((chunk) => demultiplexer.take(chunk)).map((it) => `${it.stream} ${it.bytes}`);
      expect(frames).toEqual(["stdout one\n", "stderr ", "stderr zwei ü\n", "stdout three"]);
    }
  });

  const at = (second: number) => `2026-01-01T00:00:0${second}.000000001Z`;
  const out = (text: string | Buffer): Frame => ({ stream: "stdout", bytes: Buffer.from(text as string) });
  const err = (text: string): Frame => ({ stream: "stderr", bytes: Buffer.from(text) });
  const assemble = (frames: Frame[]) => {
    const assembler = new LineAssembler();
    return [...frames.flatMap((it) => assembler.take(it)), ...assembler.flush()].map(
      (it) => `${it.stamp.slice(17, 19)} ${it.stream} ${it.message}`,
    );
  };

  test.each<[string, Frame[], string[]]>([
    ["a line", [out(`${at(1)} a\n`)], ["01 stdout a"]],
    ["an empty line", [out(`${at(1)} \n`)], ["01 stdout "]],
    ["two in one frame", [out(`${at(1)} a\n${at(2)} b\n`)], ["01 stdout a", "02 stdout b"]],
    ["pieces of one line", [out(`${at(1)} a`), out(`${at(2)} b`), out(`${at(3)} c\n`)], ["01 stdout abc"]],
    ["an end on its own", [out(`${at(1)} a`), out(`${at(2)} \n`)], ["01 stdout a"]],
    [
      "the other stream in between",
      [out(`${at(1)} a`), err(`${at(2)} x\n`), out(`${at(3)} b\n`)],
      ["02 stderr x", "01 stdout ab"],
    ],
    ["no end", [out(`${at(1)} a`)], ["01 stdout a"]],
    ["a program's own timestamp", [out(`${at(1)} ${at(5)} a\n`)], [`01 stdout ${at(5)} a`]],
    ["an offset", [out("2026-01-01T02:00:07+02:00 a\n")], ["07 stdout a"]],
  ])("%s", (_, frames, expected) => expect(assemble(frames)).toEqual(expected));

  test("a character that two pieces share", () => {
    const bytes = Buffer.from("x€y");
    expect(
      assemble([
        out(Buffer.concat([Buffer.from(`${at(1)} `), bytes.subarray(0, 2)])),
        out(Buffer.concat([Buffer.from(`${at(2)} `), bytes.subarray(2), Buffer.from("\n")])),
      ]),
    ).toEqual(["01 stdout x€y"]);
  });

  test("a line without end is cut between characters and loses nothing", () => {
    const assembler = new LineAssembler();
    const text = "€".repeat(200_000);
    const bytes = Buffer.from(text);
    const lines = [];
    for (let from = 0; from < bytes.length; from += 16_384) {
      lines.push(
        ...assembler.take(out(Buffer.concat([Buffer.from(`${at(1)} `), bytes.subarray(from, from + 16_384)]))),
      );
    }
    lines.push(...assembler.flush());
    expect(lines.length).toBeGreaterThan(1);
    expect(lines.map((it) => it.message).join("")).toBe(text);
  });

  test("bounded text keeps whole characters", () => {
    const text = new BoundedText(5);
    text.add(Buffer.from("ab€"));
    expect([text.text(), text.truncated]).toEqual(["ab€", false]);
    const short = new BoundedText(4);
    short.add(Buffer.from("ab€"));
    short.add(Buffer.from("more"));
    expect([short.text(), short.truncated]).toEqual(["ab", true]);
  });

  test("seconds of a stamp keep their nanoseconds", () => {
    expect(stampSeconds("2026-01-01T00:00:00.123456789Z")).toBe("1767225600.123456789");
    expect(stampSeconds("2026-01-01T00:00:00Z")).toBe("1767225600.000000000");
    expect(stampSeconds("2026-01-01T02:00:00.5+02:00")).toBe("1767225600.500000000");
  });
});

describe("streams of JSON", () => {
  test("values come whole, whatever the chunks, with or without a last line break", () => {
    const bytes = Buffer.from('{"a":"ü"}\r\n{"a":{}}\n\nnot json\n{"a":3}');
    for (const chunks of cuts(bytes)) {
      const lines = new JsonLines<{ a: unknown }>();
      expect(chunks.flatMap((chunk) => lines.take(chunk)).map((it) => it.value)).toEqual([
        { a: "ü" },
        { a: {} },
        { a: 3 },
      ]);
    }
  });

  test("progress is over all layers, and complete layers stay complete", () => {
    const progress = new PullProgress();
    const take = (id: string, status: string, current?: number, total?: number) => {
      progress.take({
        id,
        status,
        progressDetail: { ...(current !== undefined && { current }), ...(total !== undefined && { total }) },
      });
      return progress.percent();
    };
    expect(take("a", "Pulling fs layer")).toBeNull();
    expect(take("a", "Downloading", 10, 100)).toBe(10);
    expect(take("b", "Downloading", 0, 100)).toBe(5);
    expect(take("a", "Download complete")).toBe(50);
    expect(take("a", "Extracting", 1, 100)).toBe(50);
    expect(take("b", "Downloading", 100, 100)).toBe(100);
    progress.take({ error: "boom", errorDetail: { message: "boom in detail" } });
    expect(progress.error).toBe("boom in detail");
  });
});

describe("statistics", () => {
  const raw = {
    read: "2026-01-01T00:00:01Z",
    cpu_stats: { cpu_usage: { total_usage: 500_000_000 } },
    memory_stats: { usage: 1000, limit: 4000, stats: { total_inactive_file: 200 } },
    networks: { a: { rx_bytes: 1, tx_bytes: 2, rx_packets: 3, tx_packets: 4 }, b: { rx_bytes: 10 } },
    blkio_stats: {
      io_service_bytes_recursive: [
        { op: "Read", value: 5 },
        { op: "read", value: 6 },
        { op: "Write", value: 7 },
        { op: "Total", value: 99 },
      ],
    },
    pids_stats: { current: 3, limit: 2 ** 64 },
  };

  test("cpu is of one core", () => {
    const before = { used: 0, at: Date.parse("2026-01-01T00:00:00Z") };
    expect(cpuPercent(before, cpuMark(raw))).toBe(50);
    expect(cpuPercent(before, { used: 2e9, at: before.at + 1000 })).toBe(200);
    expect(cpuPercent(before, before)).toBe(0);
    expect(cpuPercent({ used: 5, at: 0 }, { used: 1, at: 10 })).toBe(0);
  });

  test("the rest", () => {
    expect(instanceStats({ id: "w-0", generation: 2, name: "n" }, raw, 50)).toEqual({
      instance_id: "w-0-g2",
      instance_name: "n",
      cpu_usage_percent: 50,
      memory: { usage_bytes: 800, limit_bytes: 4000, usage_percent: 20 },
      network: { rx_bytes: 11, tx_bytes: 2, rx_packets: 3, tx_packets: 4 },
      disk_io: { read_bytes: 11, write_bytes: 7 },
      pids: { current: 3, limit: 0 },
    });
  });

  test("what an engine leaves out is nothing", () => {
    expect(
      instanceStats(
        { id: "w-0", generation: 2, name: "n" },
        { read: "", networks: null, blkio_stats: { io_service_bytes_recursive: null } },
        0,
      ),
    ).toMatchObject({
      memory: { usage_bytes: 0, limit_bytes: 0, usage_percent: 0 },
      network: { rx_bytes: 0 },
    });
  });
});
