/** A server that keeps its numbers and gives them to other mail, as Proton Bridge was seen to do. */
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Dovecot } from "./dovecot.ts";

interface Swapping {
  readonly user: string;
  readonly mailbox: string;
  /** The first of two UIDs that follow each other; the mailbox begins with 1 and has no gaps. */
  readonly uid: number;
  /** What is lost with it: everything that is counted, or only what is remembered of the mail. */
  readonly lost: "dovecot.index" | "dovecot.index.cache";
}

/** Begins the server anew, with two numbers that stand for each other's mail. UIDVALIDITY and the other numbers stay. */
export const swapNumbers = async (server: Dovecot, { user, mailbox, uid, lost }: Swapping): Promise<void> => {
  const folder = (await server.doveadm("mailbox", "path", "-u", user, mailbox)).trim();
  const list = join(folder, "dovecot-uidlist");
  const lines = (await readFile(list, "utf8")).split("\n");
  const [one = "", other = ""] = lines.slice(uid, uid + 2);
  lines.splice(uid, 2, other.replace(/^\d+/, `${uid}`), one.replace(/^\d+/, `${uid + 1}`));
  await writeFile(list, lines.join("\n"));
  for (const file of await readdir(folder)) if (file.startsWith(lost)) await rm(join(folder, file));
  await server.restart();
};
