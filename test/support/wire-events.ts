/** Moments of commands that pass a proxy: something can be done when one is on its way, or was done and nobody has heard it. */
import type { Faults } from "./fault-proxy.ts";

export interface WireEvents {
  /** To be given to the proxy. */
  readonly faults: Faults;
  /** How often the command was on its way to the server. */
  readonly sent: number;
}

/**
 * Of commands of one verb (`UID STORE`). `saying` comes before each goes to the server, with its number from 1; `done` when its
 * tagged answer is on its way back, which waits for it.
 */
export const eventsOf = (
  verb: string,
  {
    saying,
    done,
  }: { readonly saying?: (nth: number) => Promise<void> | void; readonly done?: (nth: number) => Promise<void> | void },
): WireEvents => {
  const open = new Map<string, number>();
  let sent = 0;
  return {
    get sent() {
      return sent;
    },
    faults: {
      toServer: {
        before: async (piece) => {
          const tag = new RegExp(String.raw`(?:^|\n)(\S+) ${verb} `).exec(piece.toString("latin1"))?.[1];
          if (tag === undefined) return;
          open.set(tag, (sent += 1));
          await saying?.(sent);
        },
      },
      toClient: {
        before: async (piece) => {
          for (const [, tag = ""] of piece.toString("latin1").matchAll(/(?:^|\n)(\S+) (?:OK|NO|BAD) /g)) {
            const nth = open.get(tag);
            if (nth === undefined) continue;
            open.delete(tag);
            await done?.(nth);
          }
        },
      },
    },
  };
};
