import type { Api } from "./api.ts";
import { EXIT, Failure, Refused } from "./failure.ts";

/** Deletes what deployments may refer to: asks the server to refuse then, and says which, unless it is forced. */
export async function deleteReferenced(api: Api, path: string, force: boolean): Promise<void> {
  try {
    await api.delete(path, { query: { force } });
  } catch (error) {
    if (!(error instanceof Refused) || error.problem.code !== "still_referenced") throw error;
    const { deployments } = error.problem as { deployments?: unknown };
    throw new Failure(error.message, {
      exit: EXIT.conflict,
      details: Array.isArray(deployments) ? deployments.map(String) : [],
      hint: "Delete it all the same with --force: what runs keeps what it has, and what is started later waits until it is there again.",
    });
  }
}
