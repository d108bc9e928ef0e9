/** Changes of policy, applied to what was decided before: the same decisions whether they are only shown or carried out. */
import type { MailboxId, PlacementId } from "../model/ids.ts";
import type { Policies, PolicyEffect, SimulatedPolicy, SimulateRequest } from "../model/policy-effects.ts";
import { viewPop3Devices } from "../model/pop3-devices.ts";
import { restorePlace } from "../reconciler/commands.ts";
import { applyEffect, effectOf, type PolicyDecided, type PolicyView } from "../reconciler/policy-change.ts";
import { emptyDraft } from "../reconciler/state.ts";
import { type AccountTx, readOwned } from "../store/account-tx.ts";
import { planCommands } from "../store/commands.ts";
import type { Tx } from "../store/database.ts";
import { applyDecision } from "../store/decisions.ts";
import { defineInput, ingestOwned } from "../store/inputs.ts";
import { findWritableEndpoint } from "../store/intent-slices.ts";
import { loadPolicyDecided } from "../store/policy-slices.ts";
import { loadMailboxes } from "../store/slices.ts";

const pageSize = 1000;

interface Affected {
  readonly decided: PolicyDecided;
  readonly effect: PolicyEffect;
}

/** Page after page, so that an account of any size costs the memory of one. */
async function* affectedBy(account: AccountTx, view: PolicyView): AsyncGenerator<readonly Affected[]> {
  const endpointId = await findWritableEndpoint(account);
  let after: PlacementId | null = null;
  for (;;) {
    const page: readonly PolicyDecided[] = await loadPolicyDecided(account, endpointId, { after, limit: pageSize });
    yield page.flatMap((decided) => {
      const effect = effectOf(decided, view);
      return effect === null ? [] : [{ decided, effect }];
    });
    after = page.at(-1)?.placement.id ?? null;
    if (page.length < pageSize) return;
  }
}

const viewUnder = ({ pop3Evidence }: AccountTx, policy: PolicyView["policy"]): PolicyView => ({
  policy,
  pop3Devices: viewPop3Devices(policy, pop3Evidence).state,
});

const policyApplied = defineInput("intent", "policy.applied", async (account, { deviceId }: { readonly deviceId: string }) => {
  const endpointId = await findWritableEndpoint(account);
  let total = 0;
  for await (const page of affectedBy(account, viewUnder(account, account.policy))) {
    const draft = emptyDraft();
    for (const { decided, effect } of page) applyEffect(draft, decided, effect, deviceId);
    await applyDecision(account, draft, { scope: null, contents: [], existing: new Set() });
    if (endpointId !== null) await planCommands(account, endpointId, draft.commands);
    total += page.length;
  }
  return total;
});

const restoreToOf = async (account: AccountTx): Promise<MailboxId | null> => {
  const mailboxes = await loadMailboxes(account, await findWritableEndpoint(account));
  const there = mailboxes.flatMap(({ id, role, upstream }) => (upstream === null ? [] : [{ ...upstream, id, role }]));
  return restorePlace(there)?.id ?? null;
};

export class AccountPolicies implements Policies<Tx> {
  async simulate(tx: Tx, request: SimulateRequest): Promise<SimulatedPolicy | null> {
    const account = await readOwned(tx, request);
    if (account === null) return null;
    const { after, limit, policy } = request;
    const effects: PolicyEffect[] = [];
    let total = 0;
    for await (const page of affectedBy(account, viewUnder(account, policy))) {
      total += page.length;
      for (const { effect } of page)
        if (effects.length < limit && (after === null || effect.placementId > after)) effects.push(effect);
    }
    return { total, effects, restoreTo: await restoreToOf(account), state: { epoch: account.stateEpoch, seq: account.headSeq } };
  }

  async apply(tx: Tx, { deviceId, ...owner }: Parameters<Policies<Tx>["apply"]>[1]): Promise<number> {
    return (await ingestOwned(tx, owner, policyApplied, { deviceId })) ?? 0;
  }
}
