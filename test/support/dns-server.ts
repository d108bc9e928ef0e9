/** A name server that says what a test wants it to. */
import { createSocket } from "node:dgram";
import { once } from "node:events";

export interface NameServer extends AsyncDisposable {
  /** As `Resolver.setServers` takes it. */
  readonly address: string;
  /** Names that were asked for, as `SRV _imaps._tcp.example.test`. */
  readonly asked: readonly string[];
}

const types = { 15: "MX", 33: "SRV" } as const;

type Records = Readonly<
  Record<
    string,
    readonly { readonly priority: number; readonly port?: number; readonly weight?: number; readonly name: string }[]
  >
>;

const encodeName = (name: string): Buffer =>
  Buffer.concat([
    ...name
      .split(".")
      .filter((label) => label !== "")
      .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])),
    Buffer.from([0]),
  ]);

const uint16 = (...values: readonly number[]): Buffer => {
  const buffer = Buffer.alloc(2 * values.length);
  for (const [at, value] of values.entries()) buffer.writeUInt16BE(value, 2 * at);
  return buffer;
};

const questionOf = (query: Buffer): { readonly name: string; readonly type: number; readonly end: number } => {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.subarray(at + 1, at + 1 + length).toString());
    at += 1 + length;
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
};

/** @param records by type and name; what is not among them does not exist. */
export const startNameServer = async (records: Records): Promise<NameServer> => {
  const socket = createSocket("udp4");
  const asked: string[] = [];
  socket.on("message", (query, { address, port }) => {
    const { name, type, end } = questionOf(query);
    const key = `${types[type as keyof typeof types] ?? type} ${name}`;
    asked.push(key);
    const answers = (records[key] ?? []).map(({ priority, weight = 0, port: to, name: target }) => {
      const data = Buffer.concat([uint16(priority), to === undefined ? Buffer.alloc(0) : uint16(weight, to), encodeName(target)]);
      return Buffer.concat([uint16(0xc0_0c, type, 1, 0, 60, data.length), data]);
    });
    const flags = answers.length > 0 ? 0x81_80 : 0x81_83;
    const header = Buffer.concat([query.subarray(0, 2), uint16(flags, 1, answers.length, 0, 0)]);
    socket.send(Buffer.concat([header, query.subarray(12, end), ...answers]), port, address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      socket.close();
      await once(socket, "close");
    },
  };
};
