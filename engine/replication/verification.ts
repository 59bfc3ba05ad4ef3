import type { Shape, ShapeTable } from "../shape/shape.ts";
import { tableAt } from "../shape/shape.ts";
import { SourceFailure } from "../source/failure.ts";
import type { Evidence } from "../source/sample.ts";
import type { Cell, Cells } from "../store/cell.ts";
import type { Store, Table } from "../store/table.ts";

/** How much of what was loaded was compared with the source. */
export type Verified = { tables: number; rows: number; samples: number };

/**
 * Compares what was loaded with what the source says of it. Fails where they differ.
 * @param scratch empty tables, for the samples: a value is compared as it is stored
 * @param handed how many rows of each table came from the source, whether they were kept or not
 */
export function verify(
  shape: Shape,
  store: Store,
  scratch: Store,
  evidence: readonly Evidence[],
  handed: ReadonlyMap<number, number>,
): Verified {
  const verified = { tables: 0, rows: 0, samples: 0 };
  for (const { place, rows, sample } of evidence) {
    const of = tableAt(shape, place);
    const loaded = store.tables[place] as Table;
    const here = of.where === null ? loaded.live : (handed.get(place) ?? 0);
    if (here !== rows) throw differs(`of ${of.name} ${here} rows were loaded, and the source has ${rows}`);
    if (of.key.length > 0) compare(of, loaded, scratch.tables[place] as Table, sample);
    verified.tables++;
    verified.rows += rows;
    verified.samples += sample.length;
  }
  return verified;
}

function compare(of: ShapeTable, loaded: Table, scratch: Table, sample: Evidence["sample"]): void {
  const wanted = sample.map((texts) => scratch.read(texts));
  for (const cells of wanted) scratch.append(cells);
  scratch.finish();
  for (const cells of wanted) {
    const [theirs, ours] = [scratch.cellsOf(cells), loaded.cellsOf(cells)];
    if (theirs === null && ours === null) continue;
    if (ours === null) throw differs(`${rowOf(of, cells)} was not loaded`);
    if (theirs === null) throw differs(`${rowOf(of, cells)} was loaded and should not be kept`);
    const unlike = of.columns.filter((_, at) => !Object.is(theirs[at], ours[at]));
    if (unlike.length > 0)
      throw differs(`${rowOf(of, cells)} differs from the source in ${unlike.map(({ source }) => source).join(", ")}`);
  }
}

const differs = (message: string): SourceFailure => new SourceFailure("verification_failed", message);

const rowOf = ({ name, key }: ShapeTable, cells: Cells): string =>
  `the row ${key.map((place) => String(cells[place] as Cell).slice(0, 100)).join(", ")} of ${name}`;
