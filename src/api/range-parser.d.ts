declare module "range-parser" {
  interface Range {
    start: number;
    /** Inclusive. */
    end: number;
  }
  /** -1: no range can be satisfied; -2: malformed. `type` is the unit. */
  export default function parseRange(size: number, header: string): -1 | -2 | (Range[] & { type: string });
}
