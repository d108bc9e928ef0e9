/**
 * Sees to the servers the tests talk to. On Debian and its children, as root, it installs what is missing; elsewhere it says
 * in one line what is missing and how to get it, and fails.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

interface Tool {
  /** A file that is there once the tool is. */
  readonly file: string;
  readonly package: string;
}

const tools: readonly Tool[] = [
  { file: "dovecot", package: "dovecot-imapd" },
  { file: "/usr/lib/dovecot/imap", package: "dovecot-imapd" },
  { file: "/usr/lib/dovecot/pop3", package: "dovecot-pop3d" },
  { file: "getmail", package: "getmail6" },
  { file: "fetchmail", package: "fetchmail" },
  { file: "redis-server", package: "redis-server" },
  { file: "promtool", package: "prometheus" },
  { file: "openssl", package: "openssl" },
];

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

// Servers lie in the administrator's folders, which a user's PATH may leave out.
const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin", "/sbin"];
const isThere = ({ file }: Tool): boolean =>
  file.startsWith("/") ? isExecutable(file) : folders.some((folder) => isExecutable(join(folder, file)));

const missingPackages = (): string[] => [...new Set(tools.filter((tool) => !isThere(tool)).map((tool) => tool.package))];

/** Runs apt-get without questions; shows what it said only when it failed. */
const aptGet = (...args: readonly string[]): boolean => {
  // No service may start by itself: the tests start their own.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const { status, stdout, stderr } = spawnSync("apt-get", ["-qq", ...args], { env, encoding: "utf8" });
  if (status !== 0) process.stderr.write(`apt-get ${args.join(" ")}\n${stdout}${stderr}`);
  return status === 0;
};

const giveUp = (missing: readonly string[]): void => {
  process.stderr.write(
    `The tests need ${missing.join(", ")} (names of Debian packages): as root, apt-get install --no-install-recommends ${missing.join(" ")}\n`,
  );
  process.exitCode = 1;
};

const missing = missingPackages();
if (missing.length > 0) {
  const canInstall = process.getuid?.() === 0 && isExecutable("/usr/bin/apt-get");
  // Lists may be out of date, but an install can succeed all the same.
  if (canInstall) {
    aptGet("update");
    aptGet("install", "-y", "--no-install-recommends", ...missing);
  }
  const still = missingPackages();
  if (still.length > 0) giveUp(still);
}
