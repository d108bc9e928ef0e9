/** The parser thread: the tasks it takes, by name. Runs nothing on its own and ends when it is idle. */
import type { ParsedMessage } from "../model/mail.ts";
import { type FedTask, FeedBroken, fedSource } from "./feed.ts";
import { findPart, type MessageBody, type PartPlace, readBody, summarise } from "./message.ts";

/** Stands for the answer when the octets ended early: nothing was learned about the mail. */
export interface Interrupted {
  readonly status: "interrupted";
}

const answer = async <Result>(task: FedTask, work: Promise<Result>): Promise<Result | Interrupted> => {
  try {
    return await work;
  } catch (err) {
    if (err instanceof FeedBroken) return { status: "interrupted" };
    throw err;
  } finally {
    task.port?.close();
  }
};

export const parse = (task: FedTask): Promise<ParsedMessage | Interrupted> => answer(task, summarise(fedSource(task)));
export const body = (task: FedTask): Promise<MessageBody | Interrupted> => answer(task, readBody(fedSource(task)));
export const part = (task: FedTask & { readonly partId: string }): Promise<PartPlace | Interrupted> =>
  answer(task, findPart(fedSource(task), task.partId));
