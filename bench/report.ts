/** How every benchmark speaks: one line of JSON for machines, one line for people. */

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export const quantile = (values: readonly number[], q: number): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
};

const round = (value: unknown): unknown => {
  if (typeof value === "number") return Number.isInteger(value) ? value : Number(value.toPrecision(4));
  if (Array.isArray(value)) return value.map(round);
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, round(inner)]));
  return value;
};

export const report = (name: string, figures: Record<string, unknown>, sentence: string): void => {
  process.stdout.write(
    `${JSON.stringify({ bench: name, ...(round(figures) as Record<string, unknown>) })}\n${name}: ${sentence}\n`,
  );
};

/** Says what is going on, where it does not disturb the figures. */
export const progress = (text: string): void => void process.stderr.write(`  ${text}\n`);

/** `--name value` from the command line; null: it is not there. */
export const namedOption = (name: string): string | null => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? null : (process.argv[at + 1] ?? null);
};

/** `--name value` from the command line, as a number. */
export const option = (name: string, fallback: number): number => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
};
