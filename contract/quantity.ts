/** CPU, memory and duration texts as manifests write them, and back as people read them. */

/** `"500m"` or a decimal number of cores (`"0.5"`), in thousandths of a core; null when it is neither or not above 0. */
export function parseCpu(text: string): number | null {
  const millis = /^(\d+)m$/.exec(text);
  if (millis) return positive(Number(millis[1]));
  return /^\d+(\.\d+)?$/.test(text) ? positive(Math.round(Number(text) * 1000)) : null;
}

const MEMORY_UNIT: Record<string, number> = {
  "": 1,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
};

/** Plain bytes, or a number with `Ki Mi Gi Ti` (1024) or `K M G T` (1000), fractions allowed; null when it is none or not above 0. */
export function parseMemory(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|K|M|G|T)?$/.exec(text);
  if (!match) return null;
  return positive(Math.round(Number(match[1]) * (MEMORY_UNIT[match[2] ?? ""] as number)));
}

const DURATION_UNIT: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `"500ms"`, `"10s"`, `"5m"`, `"1h"`, `"30d"` in milliseconds; null when it is none of them, or not a whole number of them. */
export function parseDuration(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  if (!match) return null;
  const exact = Number(match[1]) * (DURATION_UNIT[match[2] as string] as number);
  const ms = Math.round(exact);
  return Math.abs(exact - ms) < 1e-6 * Math.max(1, ms) ? ms : null;
}

/** Bytes for a person: the largest binary unit that keeps the number at or above 1, with at most one decimal. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}

const positive = (value: number): number | null => (Number.isFinite(value) && value > 0 ? value : null);
