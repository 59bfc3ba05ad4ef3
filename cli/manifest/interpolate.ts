export type Lookup = (name: string) => string | undefined;

/**
 * Puts values in for `$NAME` and `${NAME}`. A name is taken whole (`$FOO` never hits the front of `$FOOBAR`), an unknown one is left as it
 * is written, and `$$NAME` is a literal `$NAME`, for a shell that runs inside the workload.
 */
export function interpolate(text: string, lookup: Lookup): string {
  return text.replaceAll(
    /\$(\$?)(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))/g,
    (whole, doubled: string, braced?: string, plain?: string) =>
      doubled === "$" ? whole.slice(1) : (lookup((braced ?? plain) as string) ?? whole),
  );
}
