/** Items that IMAP lists and whose octets are not had, too large or not given, are shown by their header blocks. */
import type { Session } from "../endpoints/endpoint.ts";
import { fingerprintOfHead } from "../mime/fingerprint.ts";
import { readHeaders } from "../mime/headers.ts";
import { SyncError } from "../model/failure.ts";
import type { EndpointId } from "../model/ids.ts";
import type { HeadItem } from "../model/observation.ts";
import { defineInput, ingest } from "../store/inputs.ts";
import { type DescribedStub, describeStubs, type ItemStub } from "../store/stubs.ts";
import type { LaneContext, MailboxLane } from "./lane-state.ts";
import { dueStubs } from "./stubs.ts";

interface HeadsFacts {
  readonly endpointId: EndpointId;
  readonly described: readonly DescribedStub[];
}

const headsRead = defineInput("observation", "imap.stub-heads", (account, { endpointId, described }: HeadsFacts) =>
  describeStubs(account, endpointId, described),
);

const describe = (stub: ItemStub, { head, size }: HeadItem): DescribedStub => {
  const { hHead, dropped } = fingerprintOfHead(head);
  return { stub, headers: readHeaders(head), size, fingerprint: { hHead, size: size - dropped } };
};

const readMailbox = async (
  context: LaneContext,
  session: Session,
  { mailbox, stubs }: { readonly mailbox: MailboxLane; readonly stubs: readonly ItemStub[] },
  signal: AbortSignal,
): Promise<void> => {
  if (mailbox.cursor === null) return;
  const { uidValidity } = mailbox.cursor;
  const byUid = new Map(stubs.map((stub) => [stub.uid, stub]));
  const ranges = stubs.map(({ uid }) => ({ from: uid, to: uid }));
  for await (const batch of session.heads({ path: mailbox.path, uidValidity, ranges }, signal)) {
    const described = batch.flatMap((item) => {
      const stub = byUid.get(item.uid);
      return stub === undefined ? [] : [describe(stub, item)];
    });
    if (described.length === 0) continue;
    await ingest(context, headsRead, { endpointId: context.endpointId, described });
  }
};

/** Reads header blocks that are not known yet and are due. What does not give even those stays as it is. */
export const readStubHeads = async (context: LaneContext, session: Session, signal: AbortSignal): Promise<void> => {
  for (const [mailboxId, stubs] of await dueStubs(context, "headless")) {
    const mailbox = context.mailboxes.get(mailboxId);
    if (mailbox?.selectable !== true || mailbox.parkedUntil > Date.now()) continue;
    try {
      await readMailbox(context, session, { mailbox, stubs }, signal);
    } catch (error) {
      // What is wrong with one mailbox is told by the looks at it; the others can be read.
      if (!(error instanceof SyncError) || error.scope === "endpoint" || !session.usable) throw error;
    }
  }
};
