/** Semantics C6: what reads has no way to write. EXAMINE is no barrier, so the words themselves have one home: the writer, and what it is made of. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const folder = join(import.meta.dirname, "../../src/endpoints/imap");
const homes = ["mailbox-verbs.ts", "writer.ts"];

/** As a command would be written, or called by the name of the library. */
const says =
  /(?<!\bon\()["'`](?:UID )?(?:STORE|APPEND|COPY|MOVE|EXPUNGE|REPLACE|CREATE|DELETE|RENAME|SUBSCRIBE|UNSUBSCRIBE|SETACL|SELECT)\b|\.(?:append|message(?:Flags|Move|Copy|Delete)\w*|mailbox(?:Create|Delete|Rename|Open|Subscribe)\w*|getMailboxLock)\(/;

describe("commands that change something upstream", () => {
  it("are said by the writer alone", async () => {
    const found: string[] = [];
    for (const name of await readdir(folder)) if (says.test(await readFile(join(folder, name), "utf8"))) found.push(name);
    expect(found.sort()).toEqual(homes);
  });

  it("are found however they are written", () => {
    const breaches = ['command("UID STORE", [])', "`APPEND ${name}`", "client.messageMove(", "client.append(", "'EXPUNGE'"];
    expect(breaches.map((text) => says.test(text))).toEqual(breaches.map(() => true));
    expect(says.test('command("EXAMINE", [])')).toBe(false);
  });
});
