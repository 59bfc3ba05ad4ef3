/** The work, or whatever a signal says before it is done. */
export function within<T>(work: Promise<T>, ...signals: AbortSignal[]): Promise<T> {
  return new Promise((done, fail) => {
    const aborts = signals.map((signal) => [signal, () => finish(() => fail(signal.reason as Error))] as const);
    const finish = (then: () => void) => {
      for (const [signal, abort] of aborts) signal.removeEventListener("abort", abort);
      then();
    };
    for (const [signal, abort] of aborts) {
      if (signal.aborted) abort();
      else signal.addEventListener("abort", abort);
    }
    work.then(
      (value) => finish(() => done(value)),
      (error: unknown) => finish(() => fail(error as Error)),
    );
  });
}
