/**
 * Octets that come piece by piece, put together later. A server may send them one by one, or lines that all begin with a
 * dot, which the framing takes out one by one: small pieces are copied into blocks, so that they cost what they weigh.
 */

/** So many pieces are kept as they are; most messages are one. */
const fewPieces = 32;
const smallPiece = 1024;
const blockSize = 16 * 1024;

export class Pieces {
  #pieces: Buffer[] = [];
  #block: Buffer = Buffer.alloc(0);
  /** Of the block: where what is not among the pieces yet begins and ends. */
  #from = 0;
  #to = 0;
  #bytes = 0;

  /** Octets at hand. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The piece must not be changed afterwards. */
  push(piece: Buffer): void {
    this.#bytes += piece.length;
    if (piece.length >= smallPiece || this.#pieces.length < fewPieces) {
      this.#seal();
      this.#pieces.push(piece);
      return;
    }
    if (this.#block.length - this.#to < piece.length) {
      this.#seal();
      this.#block = Buffer.allocUnsafeSlow(blockSize);
      this.#from = this.#to = 0;
    }
    this.#to += piece.copy(this.#block, this.#to);
  }

  /** All octets at hand, copied: they hold nothing they were cut from. Nothing is at hand then. */
  take(): Buffer {
    this.#seal();
    const all = Buffer.concat(this.#pieces);
    this.drop();
    return all;
  }

  drop(): void {
    this.#pieces = [];
    this.#bytes = 0;
    this.#from = this.#to;
  }

  #seal(): void {
    if (this.#to > this.#from) this.#pieces.push(this.#block.subarray(this.#from, this.#to));
    this.#from = this.#to;
  }
}
