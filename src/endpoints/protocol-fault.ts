/**
 * The server spoke something that is not its protocol, or more of it than is accepted. `code` is one that
 * verdict.ts knows.
 */
export class ProtocolFault extends Error {
  override readonly name = "ProtocolFault";
  readonly code: "ResponseProcessingFailed" | "LineTooLarge" | "ResponseTooLarge" | "STARTTLS_INJECTION";

  constructor(code: ProtocolFault["code"], what: string) {
    super(what);
    this.code = code;
  }
}
