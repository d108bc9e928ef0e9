/** Contents of messages as they are kept with an input: what stored octets tell is read from them again. */
import { readHeaders } from "../mime/headers.ts";
import { InvariantError } from "../model/failure.ts";
import type { Octets } from "../model/octets.ts";
import type { MessageContent } from "../store/decisions.ts";
import type { StoredOctets } from "../store/inputs.ts";

/** Without what their octets tell. */
export const keepContent = (content: MessageContent): MessageContent => {
  const { octets } = content;
  return octets === null ? content : { ...content, headers: null, octets: { sha256: octets.sha256, size: octets.size } };
};

/** Octets that were destroyed since tell nothing any more; neither does the row of their message. */
const headOf = async (blob: NonNullable<MessageContent["octets"]>, stored: StoredOctets): Promise<Buffer | null> => {
  try {
    return (await stored(blob)).head;
  } catch (error) {
    if (error instanceof InvariantError) return null;
    throw error;
  }
};

export const reviveContent = async (content: MessageContent, stored: StoredOctets): Promise<MessageContent> => {
  if (content.octets === null) return content;
  const head = await headOf(content.octets, stored);
  return { ...content, headers: head === null ? null : readHeaders(head) };
};

/** Octets that are read when somebody asks for them. */
export const reviveOctets = ({ sha256, size }: NonNullable<MessageContent["octets"]>, stored: StoredOctets): Octets => ({
  sha256,
  size,
  head: Buffer.alloc(0),
  async *parts() {
    yield* (await stored({ sha256, size })).parts();
  },
  dispose: () => Promise.resolve(),
});
