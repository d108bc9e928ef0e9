/** What was seen of an account's POP3 devices, kept with the account (semantics K6, 4.3). */
import { type Pop3Sign, viewPop3Devices, withSign } from "../model/pop3-devices.ts";
import { appendChanges, type InputTx } from "./account-tx.ts";

/** Adds a sign of a POP3 device; when it is the one that was missing, the account's log says what is believed from now on. */
export const notePop3Sign = async (account: InputTx, sign: Pop3Sign): Promise<void> => {
  const { at } = account.input;
  const evidence = withSign(account.pop3Evidence, sign, at.getTime());
  await account.tx.query({
    name: "pop3_evidence_write",
    text: `update accounts set pop3_evidence = $2 where id = $1`,
    values: [account.accountId, JSON.stringify(evidence)],
  });
  const before = viewPop3Devices(account.policy, account.pop3Evidence);
  const after = viewPop3Devices(account.policy, evidence);
  account.pop3Evidence = evidence;
  if (before.state === after.state) return;
  const none = { messageId: null, mailboxId: null, placementId: null, endpointId: null, deviceId: null, confidence: null };
  const change = {
    kind: "account.state",
    before: { pop3Devices: before.state },
    after: { pop3Devices: after.state },
    source: "rule",
    reason: sign,
    rule: sign === "maildrop_in_use" ? "K6" : "V15",
    evidence: [{ seen: evidence[sign]?.count }],
  } as const;
  await appendChanges(account, [{ ...none, ...change }]);
};
