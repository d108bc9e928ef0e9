/** The doors to a maildrop: one for reading, one for removing. */
import { SyncError } from "../../model/failure.ts";
import type { EndpointLimits, MaildropDriver } from "../endpoint.ts";
import { responseCodeOf } from "./classify.ts";
import { openPop3, openToRemove } from "./connection.ts";
import { Pop3Removal } from "./removal.ts";
import { Pop3Maildrop } from "./session.ts";

/** Between two tries while another client is in the maildrop (K6), in ms. */
const inUseMs = 30_000;

/** Another client in the maildrop is no fault of anybody: come back after half a minute or more, not in step (K6). */
export const withPatience = async <T>(opening: Promise<T>): Promise<T> => {
  try {
    return await opening;
  } catch (error) {
    // Too many connections are said with the same code, and may be our own.
    if (!(error instanceof SyncError) || error.kind === "throttle" || responseCodeOf(error) !== "IN-USE") throw error;
    throw new SyncError("throttle", "endpoint", {
      code: "maildrop_in_use",
      message: "Another client is in the maildrop.",
      action: "Nothing; it is tried again by itself.",
      retryAfterMs: Math.round(inUseMs * (1 + Math.random())),
      cause: error,
    });
  }
};

/** POP3 under an operator's limits. */
export const pop3Driver = (limits: EndpointLimits): MaildropDriver => ({
  open: async ({ settings, credentials, profile }, signal) =>
    new Pop3Maildrop(await withPatience(openPop3({ settings, credentials, limits }, signal)), profile),
  openRemoval: async ({ settings, credentials }, signal) =>
    new Pop3Removal(await withPatience(openToRemove({ settings, credentials, limits }, signal))),
});
