/** Lists in pages: an opaque cursor that names the last item given, never an offset, so that inserts do not shift a page. */
import { type Static, type TSchema, Type } from "typebox";
import { Check } from "typebox/value";
import { invalid } from "./problem.ts";

const defaultLimit = 50;
const mostItems = 500;

/** To be spread into a list's query schema. */
export const pageQuery = {
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: mostItems, default: defaultLimit, description: "Items in one page." }),
  ),
  cursor: Type.Optional(Type.String({ maxLength: 1024, description: "`nextCursor` of the page before." })),
};

export const pageLimit = (query: { readonly limit?: number }): number => query.limit ?? defaultLimit;

export const encodeCursor = (position: readonly (string | number)[]): string =>
  Buffer.from(JSON.stringify(position)).toString("base64url");

/**
 * The position behind a cursor, or null without one. `shape` is what this list's cursors look like, a tuple of strings and numbers.
 * @throws ProblemError `invalid_request` when it is not a cursor of this list.
 */
export const decodeCursor = <Shape extends TSchema>(cursor: string | undefined, shape: Shape): Static<Shape> | null => {
  if (cursor === undefined) return null;
  try {
    const position: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
    if (Check(shape, position)) return position;
  } catch {
    // Not JSON: the same answer as JSON of another shape.
  }
  throw invalid("query", "/cursor", "The cursor is not one that this list gave out.");
};

/**
 * Cuts a page out of `limit + 1` rows read: the one too many tells that there is more.
 * `positionOf` gives the cursor's position of an item.
 */
export const toPage = <Row, Item>(
  rows: readonly Row[],
  limit: number,
  page: { readonly positionOf: (row: Row) => readonly (string | number)[]; readonly toItem: (row: Row) => Item },
): { items: Item[]; nextCursor: string | null } => {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: shown.map(page.toItem),
    nextCursor: rows.length > limit && last !== undefined ? encodeCursor(page.positionOf(last)) : null,
  };
};
