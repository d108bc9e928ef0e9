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

const nothing = Buffer.alloc(0);

const untold = ({ sha256, size }: NonNullable<MessageContent["octets"]>): Octets => ({
  sha256,
  size,
  head: nothing,
  async *parts() {},
  dispose: () => Promise.resolve(),
});

/** Octets that were destroyed since, or were not taken, tell nothing; neither does the row of their message. */
export const reviveKnown = async (blob: NonNullable<MessageContent["octets"]>, stored: StoredOctets): Promise<Octets> => {
  try {
    return await stored(blob);
  } catch (error) {
    if (error instanceof InvariantError) return untold(blob);
    throw error;
  }
};

const headOf = async (blob: NonNullable<MessageContent["octets"]>, stored: StoredOctets): Promise<Buffer | null> => {
  const { head } = await reviveKnown(blob, stored);
  return head === nothing ? null : head;
};

export const reviveContent = async (content: MessageContent, stored: StoredOctets): Promise<MessageContent> => {
  if (content.octets === null) return content;
  const head = await headOf(content.octets, stored);
  return { ...content, headers: head === null ? null : readHeaders(head) };
};
