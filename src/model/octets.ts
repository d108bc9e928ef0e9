/**
 * The octets of one message, exactly as the server sent them, hashed while they arrived. Small ones are in memory,
 * large ones lie in a spool file; both are read part by part, so that a 60 MB message never stands in memory whole.
 */
export interface Octets {
  readonly size: number;
  /** SHA-256 of all octets, 32 bytes. */
  readonly sha256: Buffer;
  /** The first octets, at least the header block where that is at most 256 KiB; for reading headers without the body. */
  readonly head: Buffer;
  /** All octets in order, in parts of `partSize` bytes (the last one shorter). May be read more than once. */
  parts(): AsyncIterable<Buffer> | Iterable<Buffer>;
  /** Removes the spool file; harmless when there is none and when called twice. */
  dispose(): Promise<void>;
}

/** Size of one stored part of a blob, in bytes. */
export const partSize = 1024 * 1024;

/** A longer header block is cut off; in bytes. */
export const headLimit = 256 * 1024;

/** The header block with its blank line, or the first 256 KiB where it is longer. Bare LF ends lines too. */
export const headOf = (octets: Buffer): Buffer => {
  const start = octets.subarray(0, headLimit);
  if (start[0] === 10) return start.subarray(0, 1);
  if (start[0] === 13 && start[1] === 10) return start.subarray(0, 2);
  const strict = start.indexOf("\r\n\r\n");
  const within = strict < 0 ? start : start.subarray(0, strict + 4);
  const loose = within.indexOf("\n\n");
  return loose < 0 ? within : within.subarray(0, loose + 2);
};
