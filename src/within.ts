/** How long a host may take to answer, or to begin to, ms. */
export const HOST_ANSWERS_IN_MS = 5_000;

/** The promise's result, or an error when it takes longer. The timer never outlives the wait. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
