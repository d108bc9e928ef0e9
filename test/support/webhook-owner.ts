/** Webhooks as their owner makes them and looks after them, over the API. */
import { expect } from "vitest";
import { parseId, type WebhookId } from "../../src/model/ids.ts";
import type { TestApi } from "./api.ts";
import type { MailRows } from "./mail-rows.ts";

export interface Made {
  readonly id: string;
  readonly secret: string;
  readonly path: string;
}

export const accountOf = (rows: MailRows): string => `acc_${rows.accountId.replaceAll("-", "")}`;
export const only = (rows: MailRows): { accountIds: string[] } => ({ accountIds: [accountOf(rows)] });
export const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n);
export const addChanges = async (rows: MailRows, count: number): Promise<void> => {
  for (let n = 0; n < count; n += 1) await rows.change();
};
export const idOf = ({ id }: Made): WebhookId => parseId<WebhookId>("whk", id) as WebhookId;

export class WebhookOwner {
  readonly #api: TestApi;

  constructor(api: TestApi) {
    this.#api = api;
  }

  async make(url: string, input: Readonly<Record<string, unknown>> = {}): Promise<Made> {
    const { status: code, body, headers } = await this.#api.request("/v1/webhooks", { json: { url, ...input } });
    expect(code, JSON.stringify(body)).toBe(201);
    const path = `/v1/webhooks/${body.id}`;
    expect(headers.get("location")).toBe(path);
    return { ...body, path };
  }

  async deliveriesOf({
    path,
  }: Made): Promise<{ id: string; seq: number | null; result: string; attempt: number; kind: string }[]> {
    return (await this.#api.request(`${path}/deliveries?limit=500`)).body.items;
  }
}
