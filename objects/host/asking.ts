import type { LogQuery, Question } from "../../contract/frame.ts";
import { accept, type Reply, refuse } from "../../contract/problem.ts";
import { type Link, questionRefusal } from "./link.ts";

/** A question that has one answer: stats, exec. The answer is JSON text. */
export async function ask(link: Link, question: Question): Promise<Reply<string>> {
  const answer = await link.ask(question);
  if (!answer.ok) return answer;
  try {
    for await (const data of answer.value) return accept(JSON.stringify(data));
    return refuse("host_unavailable", "The agent ended without an answer.");
  } catch (error) {
    return questionRefusal(error);
  }
}

/** Log lines as the agent reads them: JSON arrays of LogLine, one per line. Cancelling the stream stops the agent. */
export async function readLogs(link: Link, query: LogQuery): Promise<Reply<ReadableStream<Uint8Array>>> {
  const answer = await link.ask({ verb: "logs", query });
  if (!answer.ok) return answer;
  const encoder = new TextEncoder();
  const text = new TransformStream<unknown, Uint8Array>({
    transform: (data, controller) => controller.enqueue(encoder.encode(`${JSON.stringify(data)}\n`)),
  });
  return accept(answer.value.pipeThrough(text));
}
