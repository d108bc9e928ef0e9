/**
 * npm run demo – one account over IMAP and POP3, from the first reading to the moment when a POP3 laptop has deleted mail that
 * an app still reads. It has a mail server, a daemon and a database of its own and leaves nothing behind. --messages N.
 */
import { SingleBar } from "cli-progress";
import Table from "cli-table3";
import { option } from "../bench/report.ts";
import { eventually } from "../test/support/eventually.ts";
import { type Change, sha256, Stage, type Totals } from "./stage.ts";
import { isTold, reasonsOf, type Step, story } from "./story.ts";

const say = (text: string): void => void process.stdout.write(`${text}\n`);

const totals = ({ inbox, unread, work }: Totals): string => `INBOX ${inbox} (${unread} unread)\nWork ${work}`;

const backfill = async (stage: Stage, count: number): Promise<void> => {
  await stage.fill(count);
  const bar = new SingleBar({
    format: "  first reading {bar} {percentage}% | {value}/{total} messages durable | {duration_formatted}",
  });
  bar.start(count, 0);
  await stage.sync((done) => bar.update(done));
  bar.stop();
};

/** Plays a step and waits until Samebox has told all of it. */
const play = async (
  stage: Stage,
  step: Step,
): Promise<{ readonly remark: string | undefined; readonly changes: readonly Change[] }> => {
  const remark = await step.play(stage);
  const changes: Change[] = [];
  await eventually(
    `Samebox tells that ${step.who} ${step.does}`,
    async () => {
      changes.push(...(await stage.news()));
      return isTold(step, changes) && (await step.settled?.(stage)) !== false;
    },
    { timeoutMs: 90_000, everyMs: 200 },
  );
  return { remark, changes };
};

/** Reads every message over HTTP, the removed ones too. @returns how many of those ever delivered came out with equal octets. */
const countReadable = async (stage: Stage): Promise<number> => {
  const found = new Set<string>();
  for (const id of stage.told) found.add(sha256(await stage.raw(id)));
  return [...stage.delivered].filter((hash) => found.has(hash)).length;
};

const main = async (): Promise<void> => {
  say("Starting a private mail server, a daemon and its database …");
  await using stage = await Stage.set();
  await backfill(stage, option("messages", 3_000));
  await stage.news();
  const table = new Table({
    head: ["", "what happens", "the server has", "Samebox has", "what Samebox logged, and why"],
    colWidths: [4, 30, 24, 24, 46],
    wordWrap: true,
    style: { head: [], border: [] },
  });
  const row = async (number: number, what: string, why: string): Promise<void> => {
    table.push([String(number), what, totals(await stage.onServer()), totals(await stage.inSamebox()), why]);
  };
  await row(0, "first reading over IMAP and POP3", "nothing marked as read, moved or deleted");
  for (const [at, step] of story.entries()) {
    process.stderr.write(`  ${at + 1}/${story.length} ${step.who} ${step.does}\n`);
    const { remark, changes } = await play(stage, step);
    await row(at + 1, `${step.who} ${step.does}`, [...reasonsOf(changes), ...(remark === undefined ? [] : [remark])].join("\n"));
  }
  say(table.toString());
  const readable = await countReadable(stage);
  say(`${readable} of the ${stage.delivered.size} messages the server ever had are readable here, byte for byte.`);
  if (readable !== stage.delivered.size) process.exitCode = 1;
};

await main();
