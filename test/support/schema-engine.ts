/**
 * Prisma's schema engine without its native program: the WebAssembly build over our own PostgreSQL driver. It reads what a
 * database is and compares it with a schema file, in the words of `prisma migrate diff`.
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { PrismaPg } from "@prisma/adapter-pg";
import { bindMigrationAwareSqlAdapterFactory, type SqlMigrationAwareDriverAdapterFactory } from "@prisma/driver-adapter-utils";
import type * as Engine from "@prisma/schema-engine-wasm/schema_engine_bg";
import type pg from "pg";

const require = createRequire(import.meta.url);
const engineModule = "@prisma/schema-engine-wasm/schema_engine_bg";

/** `"char"`, a type of the catalogue, which the engine reads and the adapter refuses; and text, as which it passes. */
const charOid = 18;
const textOid = 25;
/** `Character` in the engine's numbering of column types. */
const characterType = 6;
/** Marks a column on its way through the adapter. */
const mark = "\u0001";

type Adapter = Awaited<ReturnType<SqlMigrationAwareDriverAdapterFactory["connect"]>>;

/** Lets `"char"` through, renamed as it comes from the driver; answers the way back. For this process's driver as a whole. */
const passCharColumns = (): (() => void) => {
  const { prototype } = require("pg/lib/result") as { prototype: { addFields(fields: pg.FieldDef[]): void } };
  const { addFields } = prototype;
  prototype.addFields = function renaming(fields) {
    for (const field of fields)
      if (field.dataTypeID === charOid) Object.assign(field, { dataTypeID: textOid, name: mark + field.name });
    addFields.call(this, fields);
  };
  return () => {
    prototype.addFields = addFields;
  };
};

/** Calls the renamed columns by their name and type again, as they leave the adapter. */
const nameCharColumns = (adapter: Adapter): Adapter => {
  const queryRaw = adapter.queryRaw.bind(adapter);
  adapter.queryRaw = async (query) => {
    const result = await queryRaw(query);
    for (const [at, name] of result.columnNames.entries())
      if (name.startsWith(mark)) {
        result.columnNames[at] = name.slice(1);
        result.columnTypes[at] = characterType;
      }
    return result;
  };
  return adapter;
};

/** What is used of WebAssembly, whose types come with browsers only. */
declare const WebAssembly: {
  instantiate(
    octets: Uint8Array,
    imports: Readonly<Record<string, object>>,
  ): Promise<{ readonly instance: { readonly exports: Readonly<Record<string, unknown>> } }>;
};

const load = async (): Promise<typeof Engine> => {
  const engine = (await import(engineModule)) as typeof Engine & Readonly<Record<string, unknown>>;
  const octets = await readFile(require.resolve(engineModule).replace(/\.js$/, ".wasm"));
  const { exports } = (await WebAssembly.instantiate(octets, { "./schema_engine_bg.js": engine })).instance;
  // What the package's own entry does, for bundlers only.
  (engine["__wbg_set_wasm"] as (wasm: object) => void)(exports);
  (exports["__wbindgen_start"] as (() => void) | undefined)?.();
  return engine;
};

let loaded: Promise<typeof Engine> | undefined;

/** Gives the engine its connections, and takes them back: it does not close them by itself. */
class Connections implements SqlMigrationAwareDriverAdapterFactory {
  readonly provider = "postgres";
  readonly adapterName = "@prisma/adapter-pg";
  private readonly factory: PrismaPg;
  private readonly open: Adapter[] = [];

  constructor(url: string) {
    this.factory = new PrismaPg({ connectionString: url, max: 2 });
  }

  async connect(): Promise<Adapter> {
    const adapter = nameCharColumns(await this.factory.connect());
    this.open.push(adapter);
    return adapter;
  }

  connectToShadowDb(): Promise<never> {
    return Promise.reject(new Error("comparing a database needs no second one"));
  }

  async close(): Promise<void> {
    for (const adapter of this.open.splice(0)) await adapter.dispose();
  }
}

export interface Difference {
  readonly isEmpty: boolean;
  /** SQL that would turn the database into what the schema says. */
  readonly sql: string;
}

/** What the database behind `url` lacks, and has too much, against the Prisma schema in `file`. */
export const compareWithSchema = async (url: string, file: string): Promise<Difference> => {
  const { SchemaEngine } = await (loaded ??= load());
  const content = await readFile(file, "utf8");
  const connections = new Connections(url);
  const engine = await SchemaEngine.new(
    { datamodels: [[file, content]] },
    () => undefined,
    bindMigrationAwareSqlAdapterFactory(connections),
  );
  const restore = passCharColumns();
  try {
    const files = [{ path: file, content }];
    const { exitCode, stdout } = await engine.diff({
      from: { tag: "schemaDatasource", files, configDir: "." },
      to: { tag: "schemaDatamodel", files },
      script: true,
      exitCode: true,
      filters: { externalTables: [], externalEnums: [] },
    });
    return { isEmpty: exitCode === 0, sql: stdout ?? "" };
  } finally {
    restore();
    engine.free();
    await connections.close();
  }
};
