import { describe, expect, it } from "vitest";
import { flagOfKeyword, keepsFlag, keywordsOfFlags } from "../../src/model/mail.ts";

describe("flags and keywords", () => {
  it("F6: are one keyword in whatever case, and are written back as they were spelt first", () => {
    expect(keywordsOfFlags(["$Junk", "$JUNK", "\\SEEN"])).toEqual(["$junk", "$seen"]);
    expect(flagOfKeyword("$junk", ["\\Seen", "$Junk"])).toBe("$Junk");
    expect(flagOfKeyword("$junk", ["\\Seen"])).toBe("$junk");
    expect(flagOfKeyword("$seen")).toBe("\\Seen");
    for (const odd of ["constructor", "tostring", "__proto__", "hasownproperty"]) expect(flagOfKeyword(odd)).toBe(odd);
  });

  it("leave out what belongs to a session, or to the removal of mail", () => {
    expect(keywordsOfFlags(["\\Recent", "\\Deleted", "\\Odd"])).toEqual(["\\odd"]);
  });

  it("are kept as a mailbox says, system flags only where it names them", () => {
    expect(keepsFlag(["\\Seen", "\\*"], "label")).toBe(true);
    expect(keepsFlag(["\\Seen", "\\*"], "\\Flagged")).toBe(false);
    expect(keepsFlag(["$Junk"], "$junk")).toBe(true);
    expect(keepsFlag(null, "\\Flagged")).toBe(true);
  });
});
