/**
 * One timer for all sessions of the process, so that an idle one costs an entry in a set: it asks each from time to time to
 * prove that its connection lives.
 */
const tickMs = 5_000;

export interface Beating {
  /** When the next proof is due, as `performance.now()` tells it. */
  readonly beatDueAt: number;
  beat(): void;
}

const beatings = new Set<Beating>();
let timer: NodeJS.Timeout | null = null;

const tick = (): void => {
  const now = performance.now();
  for (const beating of beatings) if (beating.beatDueAt <= now) beating.beat();
};

/** From now on `beating` is asked; the returned function ends that. */
export const startBeating = (beating: Beating, everyMs = tickMs): (() => void) => {
  beatings.add(beating);
  timer ??= setInterval(tick, everyMs).unref();
  return () => {
    beatings.delete(beating);
    if (beatings.size > 0 || timer === null) return;
    clearInterval(timer);
    timer = null;
  };
};
