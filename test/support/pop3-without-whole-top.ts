/** A real maildrop whose TOP gives header blocks only: asked for a whole message by it, the server says no. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface HeadersOnlyProxy extends AsyncDisposable {
  readonly port: number;
}

/** Line counts of more digits than anybody counts lines of a header block with. */
const wholeTop = /^TOP \d+ \d{4,}\r\n/gim;

const carry = (client: Socket, port: number): void => {
  const server = connect({ host: "127.0.0.1", port });
  for (const socket of [client, server]) socket.on("error", () => undefined);
  client.once("close", () => server.destroy());
  server.once("close", () => client.destroy());
  server.pipe(client);
  let rest = "";
  client.on("data", (piece: Buffer) => {
    const text = rest + piece.toString("latin1");
    const end = text.lastIndexOf("\n") + 1;
    rest = text.slice(end);
    // Nothing has that number, so that the refusal comes in its turn.
    server.write(Buffer.from(text.slice(0, end).replaceAll(wholeTop, "TOP 2147483647 0\r\n"), "latin1"));
  });
};

/** Stands before a POP3 server in cleartext. */
export const startHeadersOnly = async (port: number): Promise<HeadersOnlyProxy> => {
  const clients = new Set<Socket>();
  const listener = createServer((client) => {
    clients.add(client);
    client.once("close", () => clients.delete(client));
    carry(client, port);
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  return {
    port: (listener.address() as { readonly port: number }).port,
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.destroy();
      listener.close();
      await once(listener, "close");
    },
  };
};
