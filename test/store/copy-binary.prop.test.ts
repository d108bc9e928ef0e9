import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CopyRows } from "../../src/store/copy-binary.ts";

/** Signature and row head of the stream, length and version of the field, then the JSON, then the end mark. */
const jsonIn = (rows: CopyRows): unknown =>
  JSON.parse(
    Buffer.concat(rows.chunks())
      .subarray(19 + 2 + 4 + 1, -2)
      .toString("utf8"),
  );

describe("a JSON field on its way into the database", () => {
  const text = fc
    .array(fc.constantFrom("\0", "\\", "u0000", "\\u0000", '"', "\n", "a", "é"), { maxLength: 12 })
    .map((parts) => parts.join(""));

  it("loses its NULs and nothing else, whatever looks like one", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ name: text, email: text })), (addresses) => {
        const without = addresses.map(({ name, email }) => ({
          name: name.replaceAll("\0", ""),
          email: email.replaceAll("\0", ""),
        }));
        expect(jsonIn(new CopyRows().row(1).jsonb(addresses))).toEqual(without);
      }),
    );
  });
});
