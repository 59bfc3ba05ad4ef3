const STEPS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
] as const;

/** How long ago: `5s`, `3m`, `2h`, `4d`; a clock that is a little behind shows as `0s`. */
export function age(timestamp: string, now: number): string {
  return span(now - Date.parse(timestamp));
}

/** How long until then: `in 5m`; a time that has come is `now`. */
export function until(timestamp: string, now: number): string {
  const ms = Date.parse(timestamp) - now;
  return ms <= 0 ? "now" : `in ${span(ms)}`;
}

/** A length of time in its largest unit, with the next one where that says much more: `1m30s`, `2h`, `9d`. */
export function span(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  const left = Math.max(0, ms);
  const index = STEPS.findIndex(([, size]) => left >= size);
  if (index === -1) return "0s";
  const [unit, size] = STEPS[index] as (typeof STEPS)[number];
  const count = Math.floor(left / size);
  const next = STEPS[index + 1];
  const rest = next === undefined || count >= 5 ? 0 : Math.floor((left % size) / next[1]);
  return rest === 0 || next === undefined ? `${count}${unit}` : `${count}${unit}${rest}${next[0]}`;
}
