/** The address of the embedded PostgreSQL that a running daemon keeps in its data directory. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { database, superuser } from "./cluster.ts";

/** @returns null: no daemon was ever started with this data directory. Whether one runs now is found out by connecting. */
export const embeddedUrl = async (dataDir: string): Promise<string | null> => {
  const read = (name: string): Promise<string> =>
    readFile(join(dataDir, name), "utf8").then(
      (text) => text.trim(),
      () => "",
    );
  const [port, password] = await Promise.all([read("postgres-port"), read("postgres-password")]);
  return port === "" || password === "" ? null : `postgresql://${superuser}:${password}@127.0.0.1:${port}/${database}`;
};
