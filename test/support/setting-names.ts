import { ConfigError, readConfig } from "../../src/config.ts";

/** Every setting the daemon reads, as it lists them itself to somebody who misspells one. */
export const settingNames = (): readonly string[] => {
  try {
    readConfig({ SAMEBOX_MISSPELT: "1" });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [, list = ""] = /Settings: (.*)\.$/.exec(error.faults.at(-1) ?? "") ?? [];
    return list.split(", ");
  }
  throw new Error("a misspelt setting was accepted");
};
