/** Prometheus' text format, version 0.0.4. */
export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** `suffix`: of a histogram, which part of it. */
export type Sample = { labels: Record<string, string>; value: number; suffix?: "_bucket" | "_sum" | "_count" };
export type Series = {
  name: string;
  type: "gauge" | "counter" | "histogram";
  help: string;
  samples: readonly Sample[];
};

export const sample = (value: number, labels: Record<string, string> = {}): Sample => ({ labels, value });

/** HELP and TYPE stand there also where there is no sample: what is scraped has the same names at every moment. */
export function expose(all: readonly Series[]): string {
  const lines: string[] = [];
  for (const { name, type, help, samples } of all) {
    lines.push(`# HELP ${name} ${help.replace(/\\/g, "\\\\").replace(/\n/g, "\\n")}`, `# TYPE ${name} ${type}`);
    for (const { labels, value, suffix = "" } of samples)
      lines.push(`${name}${suffix}${labelText(labels)} ${numberText(value)}`);
  }
  return `${lines.join("\n")}\n`;
}

function labelText(labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${escaped(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

const escaped = (value: string): string => value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");

const numberText = (value: number): string =>
  Number.isFinite(value) ? String(value) : Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
