/** Messages of SASL mechanisms, in base64 as every mail protocol sends them. */
import { SyncError } from "../model/failure.ts";

/** Can this be sent in an argument of a login or in a SASL message at all? Other octets could end the line or the message. */
export const isSendable = (secret: string): boolean => !/[\r\n\0\x01]/.test(secret);

const base64 = (text: string): string => Buffer.from(text, "utf8").toString("base64");

/** RFC 4616. */
export const saslPlain = (user: string, password: string): string => base64(`\0${user}\0${password}`);

/** Google's XOAUTH2, which Microsoft and others speak too. */
export const saslXoauth2 = (user: string, token: string): string => base64(`user=${user}\x01auth=Bearer ${token}\x01\x01`);

/** RFC 7628 §3.1, with the gs2 header of RFC 5801 §4. */
export const saslOauthbearer = (login: { user: string; token: string; host: string; port: number }): string => {
  const authzid = login.user.replaceAll("=", "=3D").replaceAll(",", "=2C");
  return base64(`n,a=${authzid},\x01host=${login.host}\x01port=${login.port}\x01auth=Bearer ${login.token}\x01\x01`);
};

/** A user name or secret that cannot be put on a line of any mail protocol. */
export const unsendable = (): SyncError =>
  new SyncError("config", "endpoint", {
    code: "endpoint_auth_failed",
    message: "The user name or the secret is too long or contains a character that no mail server takes.",
    action: "Check them for line breaks, then change the endpoint.",
  });
