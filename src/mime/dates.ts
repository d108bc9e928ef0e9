/** The Date field as people and programs write it (RFC 5322 §3.3, §4.3, and what is found in mail). */

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/** Offsets from UTC in minutes of the zones that RFC 5322 §4.3 names, and the few others that mail uses by name. */
const zones: ReadonlyMap<string, number> = new Map([
  ...([
    ["ut", 0],
    ["utc", 0],
    ["gmt", 0],
    ["z", 0],
    ["est", -300],
    ["edt", -240],
    ["cst", -360],
    ["cdt", -300],
  ] as const),
  ...([
    ["mst", -420],
    ["mdt", -360],
    ["pst", -480],
    ["pdt", -420],
    ["bst", 60],
    ["wet", 0],
    ["west", 60],
  ] as const),
  ...([
    ["cet", 60],
    ["met", 60],
    ["mez", 60],
    ["cest", 120],
    ["mest", 120],
    ["eet", 120],
    ["eest", 180],
    ["msk", 180],
    ["jst", 540],
  ] as const),
]);
/** No date is longer; what follows is a comment. */
const dateLimit = 200;
/** The last token that reads as a number with a sign is the offset; a sign inside a date (2003-07-01) is not one. */
const tokens = /[a-z]+|[+-](?=\d{1,2}:?\d{2}(?:\D|$))\d{1,2}:?\d{2}|\d+(?:[:.]\d+){1,3}|\d+/gi;

/** How nearly all mail is dated; anything else takes the long way, which gives the same for this. */
const usual = /^(?:[a-z]{3}, ?)?(\d{1,2}) ([a-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})([0-5]\d)(?: \([a-z]*\))?$/i;

interface Parts {
  month: number | null;
  time: readonly number[] | null;
  numbers: string[];
  /** Minutes east of UTC, as a number says it and as a name does; the number is the better witness ("GMT+0100"). */
  offset: number | null;
  zone: number | null;
}

/** RFC 5322 §4.3: two digits below 50 are 20xx, other two or three digits count from 1900. */
const fullYear = (digits: string): number => {
  const year = Number(digits);
  if (digits.length >= 4) return year;
  return digits.length <= 2 && year < 50 ? 2000 + year : 1900 + year;
};

/** Minutes east of UTC of "+0530", "-8:00"; null when there is no such place. */
const offsetOf = (token: string): number | null => {
  const digits = token.slice(1).replace(":", "").padStart(4, "0");
  const minutes = Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2));
  if (Number(digits.slice(2)) > 59 || minutes > 24 * 60) return null;
  return token.startsWith("-") ? -minutes : minutes;
};

const readTokens = (text: string): Parts => {
  const parts: Parts = { month: null, time: null, numbers: [], offset: null, zone: null };
  for (const [token] of text.matchAll(tokens)) {
    const first = token.charCodeAt(0);
    if (first === 43 || first === 45) {
      // Before the time a sign is a hyphen of the date.
      if (parts.time === null) parts.numbers.push(token.slice(1));
      else parts.offset ??= offsetOf(token);
    } else if (first > 57) {
      const word = token.toLowerCase();
      const month = months.indexOf(word.slice(0, 3));
      if (month >= 0 && parts.month === null) parts.month = month;
      else if (word === "pm" || word === "am") parts.time = noon(parts.time, word);
      else parts.zone ??= zones.get(word) ?? null;
    } else if (parts.time === null && /[:.]/.test(token) && parts.numbers.length > 0) {
      parts.time = token.split(/[:.]/).map(Number);
    } else if (!/\D/.test(token)) {
      parts.numbers.push(token);
    }
  }
  return parts;
};

const noon = (time: readonly number[] | null, half: string): readonly number[] | null => {
  const [hour = 0, ...rest] = time ?? [];
  return time === null || hour > 12 ? time : [(hour % 12) + (half === "pm" ? 12 : 0), ...rest];
};

/** Year, month and day of the numbers that stand beside the time: "1 (Jul) 2003", "(Jul) 1 2003", "2003 07 01". */
const dayOf = ({ month, numbers }: Parts): readonly [number, number, number] | null => {
  const [a = "", b = "", c = ""] = numbers;
  if (month !== null) {
    if (a === "" || b === "" || a.length > 4 || b.length > 4) return null;
    return a.length > 2 ? [fullYear(a), month, Number(b)] : [fullYear(b), month, Number(a)];
  }
  return a.length === 4 && b !== "" && c !== "" ? [Number(a), Number(b) - 1, Number(c)] : null;
};

interface Moment {
  readonly day: readonly [number, number, number];
  readonly time: readonly number[];
  readonly offset: number;
}

const daysIn = (year: number, month: number): number =>
  month === 1 ? ((year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28) : [3, 5, 8, 10].includes(month) ? 30 : 31;

/** The first and last millisecond of the years that PostgreSQL and ISO 8601 write with four digits. */
const earliest = Date.parse("0001-01-01T00:00:00Z");
const latest = Date.parse("9999-12-31T23:59:59.999Z");

const momentOf = ({ day: [year, month, date], time, offset }: Moment): Date | null => {
  const [hour = 0, minute = 0, second = 0] = time;
  if (month < 0 || month > 11 || date < 1 || date > daysIn(year, month) || hour > 24 || minute > 59 || second > 60) return null;
  // Date.UTC takes the years 0 to 99 for 1900 to 1999; 400 years are a whole number of days.
  const shifted = year < 100 ? Date.UTC(year + 400, month, date) - 12_622_780_800_000 : Date.UTC(year, month, date);
  const at = shifted + ((hour * 60 + minute - offset) * 60 + Math.min(second, 59)) * 1000;
  return at >= earliest && at <= latest ? new Date(at) : null;
};

const readUsual = (value: string): Moment | null => {
  const found = usual.exec(value);
  if (found === null) return null;
  const [, date = "", name = "", year = "", hour = "", minute = "", second = "", sign = "", hours = "", minutes = ""] = found;
  const month = months.indexOf(name.toLowerCase());
  const offset = Number(hours) * 60 + Number(minutes);
  if (month < 0 || offset > 24 * 60) return null;
  const time = [Number(hour), Number(minute), Number(second)];
  return { day: [Number(year), month, Number(date)], time, offset: sign === "-" ? -offset : offset };
};

/** Any order of day, month, year, time and zone that leaves no doubt. */
const readUnusual = (value: string): Moment | null => {
  const parts = readTokens(value.replace(/\([^()]*\)/g, " "));
  const day = dayOf(parts);
  return day === null ? null : { day, time: parts.time ?? [], offset: parts.offset ?? parts.zone ?? 0 };
};

/**
 * The moment a Date field names, or null when it names none: no day, an impossible day or hour, a year outside 0001–9999
 * (in UTC, which is what is stored). Without a zone, or with an unknown one, the time is taken as UTC (RFC 5322 §4.3).
 */
export const readDate = (value: string): Date | null => {
  if (value === "") return null;
  const text = value.length > dateLimit ? value.slice(0, dateLimit) : value;
  const moment = readUsual(text) ?? readUnusual(text);
  return moment === null ? null : momentOf(moment);
};
