/** The story of a message or a mailbox: its changes, and what is held back where it is, in plain words (model/story.ts). */
import { type Static, Type } from "typebox";
import type { Change } from "../model/change.ts";
import { toChangeJson } from "../model/change-json.ts";
import { storyOf, storyOfHold } from "../model/story.ts";
import type { Hold } from "../store/hold-reads.ts";
import { changeFields, State } from "./change-json.ts";
import { holdFields, showHold } from "./hold-schemas.ts";
import { Nullable } from "./schemas.ts";

const ToldChange = Type.Object(
  {
    ...changeFields,
    text: Type.String({ description: "What happened, in a sentence." }),
    otherwise: Nullable(Type.String({ description: "What to do to get another outcome; null: nothing is to be done." })),
  },
  { title: "ToldChange" },
);

const ToldHold = Type.Object(
  {
    ...holdFields,
    text: Type.String({ description: "What is held back, and why." }),
    otherwise: Nullable(Type.String({ description: "How to decide it; null: it is decided, or nobody can." })),
  },
  { title: "ToldHold" },
);

/** A page of it. */
export const Told = Type.Object({
  items: Type.Array(ToldChange),
  holds: Type.Array(ToldHold, { description: "What is held back where it is, until somebody decides; with each page." }),
  nextCursor: Nullable(Type.String()),
  state: State,
});

export const tellChange = (change: Change): Static<typeof ToldChange> => {
  const json = toChangeJson(change);
  // Told with the ids that its reader knows.
  const { before, after, evidence } = json;
  const { text, otherwise } = storyOf({ ...change, before, after, evidence });
  return { ...json, text, otherwise: otherwise?.replace("{seq}", String(change.seq)) ?? null };
};

export const tellHold = (hold: Hold): Static<typeof ToldHold> => {
  const shown = showHold(hold);
  return { ...shown, ...storyOfHold(shown) };
};
