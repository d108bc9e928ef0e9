/** Contents of messages as they are kept with an input: what stored octets tell is read from them again. */
import { readHeaders } from "../mime/headers.ts";
import type { MessageContent } from "../store/decisions.ts";
import type { StoredOctets } from "../store/inputs.ts";

/** Without what their octets tell. */
export const keepContent = (content: MessageContent): MessageContent => {
  const { octets } = content;
  return octets === null ? content : { ...content, headers: null, octets: { sha256: octets.sha256, size: octets.size } };
};

export const reviveContent = async (content: MessageContent, stored: StoredOctets): Promise<MessageContent> =>
  content.octets === null ? content : { ...content, headers: readHeaders((await stored(content.octets)).head) };
