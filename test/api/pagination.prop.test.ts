import fc from "fast-check";
import { Type } from "typebox";
import { expect, test } from "vitest";
import { decodeCursor, encodeCursor, toPage } from "../../src/api/pagination.ts";
import { ProblemError } from "../../src/api/problem.ts";

const Shape = Type.Tuple([Type.String(), Type.Number()]);

test("a cursor gives back the position it was made of", () => {
  fc.assert(
    fc.property(fc.string(), fc.integer(), (text, number) => {
      expect(decodeCursor(encodeCursor([text, number]), Shape)).toEqual([text, number]);
    }),
  );
});

test("what is not a cursor of the list is refused as a bad request", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json().map((json) => Buffer.from(json).toString("base64url")),
      ),
      (cursor) => {
        try {
          expect(decodeCursor(cursor, Shape)).toMatchObject([expect.any(String), expect.any(Number)]);
        } catch (error) {
          expect(error).toBeInstanceOf(ProblemError);
          expect(error).toMatchObject({ code: "invalid_request", errors: [{ in: "query", pointer: "/cursor" }] });
        }
      },
    ),
  );
});

test("pages put together are the list, whatever their size", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0 })), fc.integer({ min: 1, max: 7 }), (numbers, limit) => {
      const list = numbers.toSorted((a, b) => a - b);
      const seen: number[] = [];
      let cursor: string | null | undefined;
      while (cursor !== null) {
        const after = decodeCursor(cursor, Type.Tuple([Type.Number()]))?.[0] ?? -1;
        const rows = list.filter((row) => row > after).slice(0, limit + 1);
        const page = toPage(rows, limit, { positionOf: (row) => [row], toItem: (row) => row });
        seen.push(...page.items);
        cursor = page.nextCursor;
      }
      expect(seen).toEqual(list);
    }),
  );
});
