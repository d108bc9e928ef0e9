/** Looks for secrets where none may be: in logs, answers and whole stores, as they are and as they travel in mail protocols. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis as RedisClient } from "ioredis";
import { queryOnce } from "./database-server.ts";

/** Where to look: what it is, and all of its octets (as Latin-1 where it is no text). */
export type Sources = Readonly<Record<string, string>>;

/**
 * `text` in Base64 as it reads inside of something longer, e.g. a SASL message: for each of the three ways in which it can
 * lie across the groups of four, the part that does not depend on its neighbours.
 */
const innerBase64 = (text: string): string[] =>
  [0, 1, 2].map((offset) => {
    const octets = Buffer.concat([Buffer.alloc(offset), Buffer.from(text)]);
    const whole = octets.toString("base64").replaceAll("=", "");
    // A character holds six bits: those that share one with a neighbour are left out.
    return whole.slice(Math.ceil((offset * 8) / 6), Math.floor((octets.length * 8) / 6));
  });

const formsOf = (secret: string): ReadonlyMap<string, string> => {
  const base64 = innerBase64(secret);
  const url = base64.map((form) => form.replaceAll("+", "-").replaceAll("/", "_"));
  // The plainest name for forms that are the same: later ones win.
  return new Map([
    ...url.map((form): [string, string] => [form, "in Base64 for URLs"]),
    ...base64.map((form): [string, string] => [form, "in Base64"]),
    [Buffer.from(secret).toString("hex"), "in hexadecimal"],
    [JSON.stringify(secret).slice(1, -1), "as JSON"],
    [encodeURIComponent(secret), "percent-encoded"],
    [secret.toLowerCase(), "in lower case"],
    [secret, "as it is"],
  ]);
};

/** Every find as one line: which secret, in what form, where. */
export const findSecrets = (sources: Sources, secrets: Readonly<Record<string, string>>): string[] =>
  Object.entries(secrets).flatMap(([name, secret]) => {
    if (secret.length < 12) throw new Error(`${name} is too short to be told from chance`);
    const forms = [...formsOf(secret)];
    return Object.entries(sources).flatMap(([where, text]) =>
      forms.flatMap(([form, how]) => {
        const at = text.indexOf(form);
        return at < 0 ? [] : [`${name} ${how} in ${where}: …${text.slice(Math.max(0, at - 80), at + form.length + 20)}…`];
      }),
    );
  });

const listTables = (url: string): Promise<{ name: string; octets: string[] | null }[]> =>
  queryOnce(
    url,
    `select format('%I.%I', n.nspname, c.relname) as name,
            array_agg(quote_ident(a.attname)) filter (where a.atttypid = 'bytea'::regtype) as octets
       from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
      where c.relkind in ('r', 'p', 'm') and not c.relispartition and not a.attisdropped
        and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') group by 1`,
  );

/** Every row of every table outside of PostgreSQL's own, once as text and once more with its octets as they are. */
export const dumpTables = async (url: string): Promise<Record<string, string>> => {
  const dump: Record<string, string> = {};
  for (const { name, octets } of await listTables(url)) {
    const rows = await queryOnce<{ row: string }>(url, `select t::text as row from ${name} t`);
    dump[`table ${name}`] = rows.map(({ row }) => row).join("\n");
    for (const column of octets ?? []) {
      const values = await queryOnce<{ value: Buffer | null }>(url, `select ${column} as value from ${name}`);
      dump[`octets of ${name}.${column}`] = values.map(({ value }) => value?.toString("latin1") ?? "").join("\n");
    }
  }
  return dump;
};

const readKey = (client: RedisClient, key: string, type: string): Promise<unknown> => {
  switch (type) {
    case "string":
      return client.get(key);
    case "hash":
      return client.hgetall(key);
    case "list":
      return client.lrange(key, 0, -1);
    case "set":
      return client.smembers(key);
    case "zset":
      return client.zrange(key, "0", "-1", "WITHSCORES");
    case "stream":
      return client.xrange(key, "-", "+");
    default:
      throw new Error(`${key} is a ${type}, which this dump does not know`);
  }
};

/** Every key of every type, with its name. */
export const dumpRedis = async (url: string): Promise<Record<string, string>> => {
  const client = new RedisClient(url);
  try {
    const dump: Record<string, string> = {};
    for (const key of await client.keys("*")) {
      const type = await client.type(key);
      // "none": it ran out between the two questions.
      if (type !== "none") dump[`Redis ${type} ${key}`] = `${key}\n${JSON.stringify(await readKey(client, key, type))}`;
    }
    return dump;
  } finally {
    client.disconnect();
  }
};

/** Every file below a folder. */
export const dumpFolder = async (folder: string): Promise<Record<string, string>> => {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const texts = files.map(async (file): Promise<[string, string]> => {
    const path = join(file.parentPath, file.name);
    return [`file ${path}`, await readFile(path, "latin1")];
  });
  return Object.fromEntries(await Promise.all(texts));
};
