/** The files a private Dovecot 2.3 is started with. */
import { createHmac } from "node:crypto";
import { userInfo } from "node:os";

export interface DovecotPorts {
  readonly imap: number;
  readonly imaps: number;
  readonly pop3: number;
  readonly pop3s: number;
}

export interface DovecotPop3 {
  /** RETR marks nothing as read (false). */
  readonly noFlagUpdates?: boolean;
  /** One POP3 session at a time: the next one waits, and is refused with `[IN-USE]` after some ten seconds (false). */
  readonly lockSession?: boolean;
  /** DELE sets this keyword or flag in place of removing, and hides the message (none). */
  readonly deletedFlag?: string;
  /** How unique-ids are printed; `%u` is the UID, `%v` the UIDVALIDITY (`%08Xu%08Xv`). */
  readonly uidlFormat?: string;
  /** The greeting offers APOP (false). */
  readonly apop?: boolean;
}

export interface DovecotSetup {
  readonly folder: string;
  readonly ports: DovecotPorts;
  /** Owner of the mail. */
  readonly uid: number;
  readonly gid: number;
  readonly format: "maildir" | "sdbox";
  readonly maxUserIpConnections: number;
  readonly pop3: DovecotPop3;
  /** The whole capability line; null for Dovecot's own. */
  readonly capability: readonly string[] | null;
  readonly extraConfig: string;
}

const specialUse = ["Drafts", "Sent", "Trash", "Junk", "Archive"];

const isRoot = process.getuid?.() === 0;

/** Without root nothing can change its user or its root folder, so every part runs as the caller. */
const ownUser = isRoot
  ? ""
  : `default_internal_user = ${userInfo().username}
default_login_user = ${userInfo().username}
default_internal_group = $GROUP
service stats {
  chroot =
}`;

const loginService = (protocol: "imap" | "pop3", ports: { readonly plain: number; readonly tls: number }): string => `
service ${protocol}-login {
  ${isRoot ? "" : "chroot ="}
  service_count = 0
  process_min_avail = 1
  client_limit = 2000
  inet_listener ${protocol} {
    port = ${ports.plain}
  }
  inet_listener ${protocol}s {
    port = ${ports.tls}
    ssl = yes
  }
}
service ${protocol} {
  process_limit = 2000
}`;

const yes = (on: boolean | undefined): string => (on === true ? "yes" : "no");

/** As Dovecot names them, for all accounts or for one. */
export const pop3Settings = (pop3: DovecotPop3): Readonly<Record<string, string>> => ({
  pop3_no_flag_updates: yes(pop3.noFlagUpdates),
  pop3_lock_session: yes(pop3.lockSession),
  pop3_uidl_format: pop3.uidlFormat ?? "%08Xu%08Xv",
  ...(pop3.deletedFlag !== undefined && { pop3_deleted_flag: pop3.deletedFlag }),
});

/** The text of dovecot.conf. `group` is the name of the caller's group, used without root only. */
export const dovecotConf = (setup: DovecotSetup, group: string): string => `
base_dir = ${setup.folder}/run
state_dir = ${setup.folder}/state
log_path = ${setup.folder}/dovecot.log
protocols = imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <${setup.folder}/server.pem
ssl_key = <${setup.folder}/server.key
disable_plaintext_auth = no
login_trusted_networks = 127.0.0.0/8
auth_mechanisms = plain login xoauth2 oauthbearer${setup.pop3.apop === true ? " apop" : ""}
auth_failure_delay = 0
first_valid_uid = 1
first_valid_gid = 0
mail_location = ${setup.format}:~/mail
mail_fsync = never
mail_max_userip_connections = ${setup.maxUserIpConnections}
maildir_very_dirty_syncs = no
${Object.entries(pop3Settings(setup.pop3))
  .map(([name, value]) => `${name} = '${value}'`)
  .join("\n")}
default_process_limit = 2000
default_client_limit = 8000
# A refused login shall not slow down the next one from the same address.
service anvil {
  ${isRoot ? "" : "chroot ="}
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
${ownUser.replace("$GROUP", group)}
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = ${setup.folder}/oauth2.conf
}
passdb {
  driver = passwd-file
  mechanisms = plain login apop
  args = scheme=PLAIN username_format=%u ${setup.folder}/passwd
}
userdb {
  driver = passwd-file
  args = username_format=%u ${setup.folder}/passwd
}
namespace inbox {
  inbox = yes
  separator = /
${specialUse.map((name) => `  mailbox ${name} {\n    special_use = \\${name}\n    auto = subscribe\n  }`).join("\n")}
}
${loginService("imap", { plain: setup.ports.imap, tls: setup.ports.imaps })}
${loginService("pop3", { plain: setup.ports.pop3, tls: setup.ports.pop3s })}
${setup.capability === null ? "" : `imap_capability = ${setup.capability.join(" ")}`}
${setup.extraConfig}
`;

/** Tokens are checked against a key on disk (RFC 7519, HS256), so no identity server is needed. */
export const oauth2Conf = (folder: string): string => `
introspection_mode = local
local_validation_key_dict = fs:posix:prefix=${folder}/keys/
username_attribute = sub
`;

const encode = (value: Buffer | object): string =>
  (Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))).toString("base64url");

/** A JSON Web Token for `user`; `expiresAt` in seconds since 1970. */
export const accessTokenFor = (token: { readonly user: string; readonly expiresAt: number; readonly key: Buffer }): string => {
  const body = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ sub: token.user, iat: token.expiresAt - 7200, exp: token.expiresAt })}`;
  return `${body}.${encode(createHmac("sha256", token.key).update(body).digest())}`;
};
