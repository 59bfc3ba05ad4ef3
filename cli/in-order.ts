/** How many requests one command has under way at a time: enough to keep a control plane busy, and few enough to leave others their share. */
const AT_ONCE = 16;

/** Works on several things at the same time, and answers what came of each in their order, as soon as it and those before it are done. */
export async function* inOrder<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
  atOnce = AT_ONCE,
): AsyncGenerator<PromiseSettledResult<R>> {
  const under: Promise<PromiseSettledResult<R>>[] = [];
  let next = 0;
  const begin = () => {
    const item = items[next++];
    if (item === undefined) return;
    under.push(
      work(item).then(
        (value) => ({ status: "fulfilled", value }),
        (reason: unknown) => ({ status: "rejected", reason }),
      ),
    );
  };
  while (next < items.length && under.length < atOnce) begin();
  for (let outcome = under.shift(); outcome !== undefined; outcome = under.shift()) {
    const done = await outcome;
    begin();
    yield done;
  }
}

/** The same, and all or nothing: throws the first failure. */
export async function allInOrder<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for await (const outcome of inOrder(items, work)) {
    if (outcome.status === "rejected") throw outcome.reason;
    results.push(outcome.value);
  }
  return results;
}
