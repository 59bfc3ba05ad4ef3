import { type Shape, tableAt } from "../shape/shape.ts";

/** An index of a table: `i0` is the primary key, the others are for relations and for filters. */
export type IndexPlan = { columns: number[] /** No two rows have the same values. */; unique: boolean };

/** Per table, what it has an index on: its key, both ends of relations, and what the source has an index on. */
export function indexesOf(shape: Shape): IndexPlan[][] {
  const plans: IndexPlan[][] = shape.tables.map(({ key }) => [{ columns: key, unique: true }]);
  const want = (place: number, columns: number[]) => {
    const own = plans[place] as IndexPlan[];
    if (!own.some((each) => each.columns.join() === columns.join())) own.push({ columns, unique: false });
  };
  for (const [place, table] of shape.tables.entries()) {
    for (const relation of table.relations) {
      tableAt(shape, relation.table);
      want(relation.table, relation.references);
    }
    for (const columns of table.indexes) want(place, columns);
  }
  return plans;
}

export function indexOn(plans: readonly IndexPlan[], columns: readonly number[]): number {
  return plans.findIndex((each) => each.columns.join() === columns.join());
}
