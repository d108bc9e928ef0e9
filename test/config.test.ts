import { describe, expect, it } from "vitest";
import { ConfigError, readConfig } from "../src/config.ts";

const faultsOf = (env: Record<string, string>): readonly string[] => {
  try {
    readConfig(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
};

describe("settings", () => {
  it("have working defaults", () => {
    expect(readConfig({})).toMatchObject({ host: "127.0.0.1", port: 8080, databaseUrl: null, redisUrl: null, pollSeconds: 60 });
  });

  it("are all checked before any fault is reported", () => {
    const faults = faultsOf({
      PORT: "http",
      REDIS_URL: "localhost",
      SAMEBOX_SECRET_KEY: "short",
      SAMEBOX_POLL_SECONDS: "0",
      LOG_LEVEL: "loud",
    });
    expect(faults.map((fault) => fault.split(" ")[0])).toEqual([
      "PORT",
      "REDIS_URL",
      "SAMEBOX_SECRET_KEY",
      "SAMEBOX_POLL_SECONDS",
      "LOG_LEVEL",
    ]);
  });

  it("name days that are none", () => {
    expect(faultsOf({ SAMEBOX_INPUT_DAYS: "0" })).toEqual(["SAMEBOX_INPUT_DAYS must be a whole number from 1 to 36500."]);
    expect(readConfig({ SAMEBOX_INPUT_DAYS: "90" }).inputDays).toBe(90);
    expect(readConfig({}).inputDays).toBe(30);
    expect(readConfig({ SAMEBOX_TRUSTED_PROXIES: "10.0.0.0/8, ::1" }).trustedProxies).toEqual(["10.0.0.0/8", "::1"]);
    for (const wrong of ["proxy.local", "10.0.0.0/33", "10.0.0.0/8/8", "::1/a", "10.0.0.1,"])
      expect(() => readConfig({ SAMEBOX_TRUSTED_PROXIES: wrong })).toThrow(/SAMEBOX_TRUSTED_PROXIES must be addresses/);
  });

  it("name a setting that does not exist", () => {
    expect(faultsOf({ SAMEBOX_POL_SECONDS: "5" })[0]).toMatch(/^SAMEBOX_POL_SECONDS is not a setting/);
  });

  it("need a shared secret key beside a shared database", () => {
    expect(faultsOf({ DATABASE_URL: "postgresql://db/samebox" })[0]).toMatch(/^SAMEBOX_SECRET_KEY is needed/);
  });

  it("treat an empty value as unset", () => {
    expect(readConfig({ PORT: "", SAMEBOX_ALLOW_CLEARTEXT: "" })).toMatchObject({ port: 8080, allowCleartext: false });
  });
});
