import { describe, expect, it } from "vitest";
import type { Answer } from "../../../src/endpoints/imap/asking.ts";
import { refusalOf } from "../../../src/endpoints/imap/refusals.ts";

const said = (status: Answer["status"], code: string | null, text: string): string =>
  refusalOf({ status, code: code === null ? null : [code, ""], text, untagged: [] }).why;

describe("a refusal (C5)", () => {
  it.each([
    ["OVERQUOTA", "over_quota"],
    ["NOPERM", "no_permission"],
    ["READ-ONLY", "no_permission"],
    ["CANNOT", "unsupported"],
    ["TOOBIG", "unsupported"],
    ["TRYCREATE", "no_mailbox"],
    ["NONEXISTENT", "no_mailbox"],
    ["INUSE", "try_later"],
  ])("is what its code says: %s", (code, why) => {
    expect(said("NO", code, "No.")).toBe(why);
  });

  it("is what its words say where it has no code, and else something that passes", () => {
    expect(said("NO", null, "Quota exceeded")).toBe("over_quota");
    expect(said("NO", null, "Mailbox doesn't exist: X")).toBe("no_mailbox");
    expect(said("NO", null, "Permission denied")).toBe("no_permission");
    expect(said("NO", null, "Try again")).toBe("try_later");
    expect(said("BAD", null, "What?")).toBe("unsupported");
  });
});
