// @ts-nocheck
/**
 * Samebox
 * 1
 * DO NOT MODIFY - This file has been generated using oazapfts.
 * See https://www.npmjs.com/package/oazapfts
 */
import * as Oazapfts from "@oazapfts/runtime";
import * as QS from "@oazapfts/runtime/query";
export const defaults: Oazapfts.Defaults<Oazapfts.CustomHeaders> = {
    headers: {},
    baseUrl: "/"
};
const oazapfts = Oazapfts.runtime(defaults);
export const servers = {
    server1: "/"
};
export type Problem = {
    "type": string;
    title: string;
    status: number;
    detail: string;
    /** Stable, for programs. */
    code: string;
    /** The request's id, as in X-Request-Id. */
    instance: string;
    errors?: {
        "in": "body" | "query" | "path" | "header";
        /** JSON pointer (RFC 6901) to the offending value. */
        pointer: string;
        detail: string;
    }[];
};
export type PasswordAuth = {
    "type": "password";
    user: string;
};
export type PasswordAuthWrite = {
    "type": "password";
    user: string;
    password: string;
};
export type OAuth2Auth = {
    "type": "oauth2";
    user: string;
};
export type OAuth2AuthWrite = {
    "type": "oauth2";
    user: string;
    accessToken: string;
};
export type EndpointInput = {
    protocol: "imap" | "pop3";
    host: string;
    port?: number;
    /** `none` only where the operator allows it. */
    security?: "tls" | "starttls" | "none";
    auth: ({
        "type": "password";
    } & PasswordAuth) | ({
        "type": "oauth2";
    } & OAuth2Auth);
    tls?: {
        /** A private certificate authority, PEM. */
        caPem?: string | null;
        /** `false` only where the operator allows it. */
        rejectUnauthorized?: boolean;
    };
};
export type EndpointInputWrite = {
    protocol: "imap" | "pop3";
    host: string;
    port?: number;
    /** `none` only where the operator allows it. */
    security?: "tls" | "starttls" | "none";
    auth: ({
        "type": "password";
    } & PasswordAuthWrite) | ({
        "type": "oauth2";
    } & OAuth2AuthWrite);
    tls?: {
        /** A private certificate authority, PEM. */
        caPem?: string | null;
        /** `false` only where the operator allows it. */
        rejectUnauthorized?: boolean;
    };
};
export type PolicyPatch = {
    pop3Devices?: "unknown" | "declared" | "none";
    onPop3Drain?: "keep" | "mirror" | "restore";
    /** Where a POP3 device reads the account (pop3Devices is declared, or was learned): each new message of INBOX is copied on the IMAP server as soon as it is seen, to Archive or else Kept from POP3, so that the device does not take the only copy there. What a server lists without giving it is copied when it is given; what lay in INBOX before, or came just before the server numbered INBOX anew, is not, and nothing on Gmail. Costs the room of the copies. */
    preserveAhead?: boolean;
    onUserExpunge?: "keep" | "mirror";
    onUnknownVanish?: "auto" | "keep" | "mirror";
    /** What \Seen means on mail that looks as if a POP3 device only retrieved it. accept: it is read. revert: it stays unread here and is set back once upstream; asking for it says that there is such a device. auto: revert where pop3Devices is declared, else accept. */
    pop3Seen?: "auto" | "accept" | "revert";
    serverCopy?: "leave" | "delete_after_days" | "delete_on_purge";
    serverCopyDays?: number;
    retentionDays?: number;
};
export type AccountInput = {
    name?: string;
    email: string;
    endpoints: EndpointInput[];
    policy?: PolicyPatch;
};
export type AccountInputWrite = {
    name?: string;
    email: string;
    endpoints: EndpointInputWrite[];
    policy?: PolicyPatch;
};
export type Policy = {
    pop3Devices: "unknown" | "declared" | "none";
    onPop3Drain: "keep" | "mirror" | "restore";
    /** Where a POP3 device reads the account (pop3Devices is declared, or was learned): each new message of INBOX is copied on the IMAP server as soon as it is seen, to Archive or else Kept from POP3, so that the device does not take the only copy there. What a server lists without giving it is copied when it is given; what lay in INBOX before, or came just before the server numbered INBOX anew, is not, and nothing on Gmail. Costs the room of the copies. */
    preserveAhead: boolean;
    onUserExpunge: "keep" | "mirror";
    onUnknownVanish: "auto" | "keep" | "mirror";
    /** What \Seen means on mail that looks as if a POP3 device only retrieved it. accept: it is read. revert: it stays unread here and is set back once upstream; asking for it says that there is such a device. auto: revert where pop3Devices is declared, else accept. */
    pop3Seen: "auto" | "accept" | "revert";
    serverCopy: "leave" | "delete_after_days" | "delete_on_purge";
    serverCopyDays: number;
    retentionDays: number;
};
export type Account = {
    id: string;
    name: string;
    email: string;
    state: string;
    syncState: "connecting" | "backfilling" | "live" | "paused" | "needs_reauth" | "needs_attention" | "held";
    endpoints: {
        id: string;
        protocol: "imap" | "pop3";
        host: string;
        port: number;
        /** `none` only where the operator allows it. */
        security: "tls" | "starttls" | "none";
        auth: {
            "type": "password" | "oauth2";
            user: string;
        };
        tls: {
            caPem: string | null;
            rejectUnauthorized: boolean;
        };
        syncState: "connecting" | "backfilling" | "live" | "paused" | "needs_reauth" | "needs_attention" | "held";
        lastError: {
            code: string;
            message: string;
            action: string;
            at: string;
        } | null;
        /** What was learned of the server. */
        profile: {
            [key: string]: any;
        };
    }[];
    policy: Policy;
    createdAt: string;
};
export type EndpointPatch = {
    /** The endpoint to change; without it, a new one is added. */
    id?: string;
    protocol?: "imap" | "pop3";
    host?: string;
    port?: number;
    /** `none` only where the operator allows it. */
    security?: "tls" | "starttls" | "none";
    auth?: ({
        "type": "password";
    } & PasswordAuth) | ({
        "type": "oauth2";
    } & OAuth2Auth);
    tls?: {
        /** A private certificate authority, PEM. */
        caPem?: string | null;
        /** `false` only where the operator allows it. */
        rejectUnauthorized?: boolean;
    };
};
export type EndpointPatchWrite = {
    /** The endpoint to change; without it, a new one is added. */
    id?: string;
    protocol?: "imap" | "pop3";
    host?: string;
    port?: number;
    /** `none` only where the operator allows it. */
    security?: "tls" | "starttls" | "none";
    auth?: ({
        "type": "password";
    } & PasswordAuthWrite) | ({
        "type": "oauth2";
    } & OAuth2AuthWrite);
    tls?: {
        /** A private certificate authority, PEM. */
        caPem?: string | null;
        /** `false` only where the operator allows it. */
        rejectUnauthorized?: boolean;
    };
};
export type AccountPatch = {
    name?: string;
    email?: string;
    endpoints?: EndpointPatch[];
    policy?: PolicyPatch;
};
export type AccountPatchWrite = {
    name?: string;
    email?: string;
    endpoints?: EndpointPatchWrite[];
    policy?: PolicyPatch;
};
export type Hold = {
    id: string;
    /** `mass_vanish`, `mass_drain`, `mass_flag_loss`, `epoch`, `octets_damaged` … */
    reason: string;
    /** Messages it is about. */
    count: number;
    mailboxId: string | null;
    since: string;
    /** What was said of it; it is carried out at the next look at the server. */
    decision: ("approved" | "rejected" | null) | ("approved" | "rejected" | null);
    choices: {
        /** What becomes of it when the server is right. */
        approve: string;
        /** What becomes of it when what is here is right. */
        reject: string;
    } | null;
};
export type AccountStatus = {
    syncState: "connecting" | "backfilling" | "live" | "paused" | "needs_reauth" | "needs_attention" | "held";
    state: string;
    /** Seconds since the endpoint that is furthest behind was last seen well; null: one never was. */
    lagSeconds: number | null;
    progress: {
        /** Messages of the first reading that are stored. */
        done: number;
        total: number;
        /** At the speed so far; null: not known yet. */
        etaSeconds: number | null;
    };
    endpoints: {
        id: string;
        protocol: "imap" | "pop3";
        syncState: "connecting" | "backfilling" | "live" | "paused" | "needs_reauth" | "needs_attention" | "held";
        lastSuccessAt: string | null;
        lagSeconds: number | null;
        /** Backing off until then; null: not backing off. */
        nextAttemptAt: string | null;
        /** Everything is being read anew since that was asked for then; null: it is not. */
        resyncSince: string | null;
        /** Mailboxes the server tells news of by itself; `*` is all of them. */
        watching: string[];
        progress: {
            /** Messages of the first reading that are stored. */
            done: number;
            total: number;
            /** At the speed so far; null: not known yet. */
            etaSeconds: number | null;
        };
        lastError: {
            code: string;
            message: string;
            action: string;
            at: string;
        } | null;
        /** What was learned of the server. */
        profile: {
            [key: string]: any;
        };
        /** What the owner should know of this server, in plain words. */
        notices: string[];
    }[];
    /** Are there devices that read the account over POP3, and may take mail off the server? */
    pop3Devices: {
        state: "unknown" | "declared" | "learned" | "denied";
        /** Since when it is learned; else null. */
        since: string | null;
        because: ("policy" | "maildrop_in_use" | "drained" | null) | ("policy" | "maildrop_in_use" | "drained" | null);
    };
    /** Devices that were seen at work, with the reason, whether or not the owner says that there are any. */
    suspectedDevices: {
        protocol: "pop3";
        sign: "maildrop_in_use" | "drained" | "read_like_retrieved";
        /** How often it was seen; of messages that were read so, how many. */
        count: number;
        lastAt: string;
        /** Seen often enough to be acted on. */
        certain: boolean;
        message: string;
        action: string;
    }[];
    /** The first 500. */
    holds: Hold[];
    hints: {
        /** suspected_pop3_seen: mail counts as read that a POP3 device may only have retrieved. */
        hint: string;
        mailboxId: string;
        /** Messages it was so with. */
        count: number;
        lastAt: string;
        /** What the owner can do. */
        action: string;
    }[];
};
export type PolicyEffect = {
    messageId: string;
    placementId: string;
    /** Where it is; of what would be `live`: where on the server it would be put back. null: a mailbox would be made for it. */
    mailboxId: string | null;
    now: "kept" | "removed" | "live";
    wouldBe: "kept" | "removed" | "live";
    /** What its absence would count as, e.g. `pop3_drain`. */
    reason: string;
    rule: string;
    confidence: number | null;
};
export type Probe = {
    protocol: "imap" | "pop3";
    host: string;
    port: number;
    security: "tls" | "starttls" | "none";
    /** A mail server of this protocol answered. */
    reachable: boolean;
    failed: {
        step: "connect" | "tls" | "greeting" | "login" | "look";
        code: string;
        message: string;
        action: string;
    } | null;
    tls: {
        mode: "implicit" | "starttls";
        version: string | null;
        cipher: string | null;
        forwardSecrecy: boolean;
        certificate: {
            valid: boolean;
            problem: ("expired" | "not_yet_valid" | "name_mismatch" | "self_signed" | "unknown_authority" | "incomplete_chain" | "other" | null) | ("expired" | "not_yet_valid" | "name_mismatch" | "self_signed" | "unknown_authority" | "incomplete_chain" | "other" | null);
            subject: string | null;
            names: string[];
            issuer: string | null;
            expiresAt: string | null;
        } | null;
    } | null;
    login: "accepted" | "refused" | "busy" | "failed" | "not_tried";
    server: {
        kind: "dovecot" | "cyrus" | "courier" | "wildduck" | "stalwart" | "gmail" | "exchange" | "zimbra" | "yahoo" | "icloud" | "proton_bridge" | "unknown";
        name: string | null;
    };
    capabilities: {
        beforeLogin: string[] | null;
        afterLogin: string[] | null;
    };
    imap: {
        changeDetection: "qresync" | "condstore" | "full";
        condstore: {
            /** Whether mod-sequences say what changed, as far as questions tell that change nothing. */
            verdict: "honest" | "dishonest" | "unproven" | "absent";
            evidence: string[];
        };
        push: "notify" | "idle" | "poll";
        listStatus: boolean;
        /** Does the server itself say which mailbox is for what? */
        specialUse: boolean;
        roles: string[];
        mailboxes: number;
        inboxMessages: number | null;
    } | null;
    pop3: {
        messages: number | null;
        /** STAT, LIST and UIDL agree. */
        listingComplete: boolean;
        uidl: {
            offered: boolean;
            look: ("hex-uid-validity" | "hex-validity-uid" | "validity.uid" | "validity-uid" | "UIDuid-validity" | "validityuid" | "uid" | "object-id" | "file-name" | "opaque" | null) | ("hex-uid-validity" | "hex-validity-uid" | "validity.uid" | "validity-uid" | "UIDuid-validity" | "validityuid" | "uid" | "object-id" | "file-name" | "opaque" | null);
            seen: number;
            duplicates: number;
            tooLong: number;
        };
        top: {
            offered: boolean;
            usable: boolean | null;
        };
        pipelining: boolean;
        retrSetsSeen: {
            /** Known of this kind of server, never tried. */
            verdict: "unknown" | "no" | "session_end" | "per_message";
            because: string;
        };
        deleEffect: "unknown" | "expunge" | "move_to_trash" | "server_policy" | "destroy_everywhere";
        listingWindow: {
            verdict: "none_seen" | "suspected" | "newest_only" | "not_yet_popped";
            because: string;
        };
        expireDays: number | null;
        loginDelaySeconds: number | null;
        sessions: "exclusive" | "parallel" | "not_tried";
    } | null;
    advice: {
        /** Stable, for programs. */
        code: string;
        severity: "info" | "warning" | "problem";
        message: string;
        action: string;
    }[];
};
export type Discovery = {
    /** Surest first; none: nobody says anything. */
    items: {
        protocol: "imap" | "pop3";
        host: string;
        port: number;
        security: "tls" | "starttls";
        auth: "password" | "oauth2";
        /** A table of large providers, the domain's DNS (RFC 6186), or the autoconfig file of its own web server. */
        source: "provider" | "srv" | "autoconfig";
        /** How sure that is, to choose by. */
        confidence: number;
    }[];
    /** What the owner has to know of the provider, in plain words. */
    advice: string[];
};
export type Mailbox = {
    id: string;
    name: string;
    /** Names from the root down, joined with "/". For people; programs use `id`. */
    path: string;
    parentId: string | null;
    role: ("inbox" | "archive" | "drafts" | "sent" | "junk" | "trash" | null) | ("inbox" | "archive" | "drafts" | "sent" | "junk" | "trash" | null);
    totalMessages: number;
    unreadMessages: number;
    sync: "synced" | "pending" | "held" | "masked" | "canonical_only";
};
export type MailboxInput = {
    /** Any characters but controls, and but the one that separates levels on the account's IMAP server. */
    name: string;
    /** The mailbox it lies in. */
    parentId?: string | null;
    /** What it is for. Another mailbox that was for this is for nothing then; what the server says of it counts no more. */
    role?: ("archive" | "drafts" | "sent" | "junk" | "trash" | null) | ("archive" | "drafts" | "sent" | "junk" | "trash" | null);
};
export type MailboxWriteResult = {
    id: string;
    name: string;
    /** Names from the root down, joined with "/". For people; programs use `id`. */
    path: string;
    parentId: string | null;
    role: ("inbox" | "archive" | "drafts" | "sent" | "junk" | "trash" | null) | ("inbox" | "archive" | "drafts" | "sent" | "junk" | "trash" | null);
    totalMessages: number;
    unreadMessages: number;
    sync: "synced" | "pending" | "held" | "masked" | "canonical_only";
    /** `applied`: durable in the canonical store; `placements[].sync` tells what upstream has confirmed. `superseded`: what others did meanwhile stands. */
    status: "applied" | "superseded" | "rejected" | "pending";
    /** Stable, for programs. */
    reason: string;
    /** A point in the account's log: `<epoch>.<seq>`. */
    state: string;
};
export type ToldChange = {
    seq: number;
    /** A point in the account's log: `<epoch>.<seq>`. */
    state: string;
    at: string;
    kind: string;
    accountId: string;
    messageId: string | null;
    mailboxId: string | null;
    placementId: string | null;
    before: {
        [key: string]: any;
    } | {
        [key: string]: any;
    };
    after: {
        [key: string]: any;
    } | {
        [key: string]: any;
    };
    cause: {
        /** imap, pop3, api, rule or daemon. */
        source: string;
        endpointId: string | null;
        deviceId: string | null;
    };
    reason: string;
    rule: string | null;
    confidence: number | null;
    evidence: any[];
    /** SHA-256 over the hash of the change before and this change without its `hash`, as canonical JSON (RFC 8785). */
    hash: string;
    /** What happened, in a sentence. */
    text: string;
    /** What to do to get another outcome; null: nothing is to be done. */
    otherwise: string | null;
};
export type ToldHold = {
    id: string;
    /** `mass_vanish`, `mass_drain`, `mass_flag_loss`, `epoch`, `octets_damaged` … */
    reason: string;
    /** Messages it is about. */
    count: number;
    mailboxId: string | null;
    since: string;
    /** What was said of it; it is carried out at the next look at the server. */
    decision: ("approved" | "rejected" | null) | ("approved" | "rejected" | null);
    choices: {
        /** What becomes of it when the server is right. */
        approve: string;
        /** What becomes of it when what is here is right. */
        reject: string;
    } | null;
    /** What is held back, and why. */
    text: string;
    /** How to decide it; null: it is decided, or nobody can. */
    otherwise: string | null;
};
export type MailboxPatch = {
    /** Any characters but controls, and but the one that separates levels on the account's IMAP server. */
    name?: string;
    /** The mailbox it lies in. */
    parentId?: string | null;
    /** What it is for. Another mailbox that was for this is for nothing then; what the server says of it counts no more. */
    role?: ("archive" | "drafts" | "sent" | "junk" | "trash" | null) | ("archive" | "drafts" | "sent" | "junk" | "trash" | null);
};
export type MailboxRemoval = {
    /** `applied`: durable in the canonical store; `placements[].sync` tells what upstream has confirmed. `superseded`: what others did meanwhile stands. */
    status: "applied" | "superseded" | "rejected" | "pending";
    /** Stable, for programs. */
    reason: string;
    /** A point in the account's log: `<epoch>.<seq>`. */
    state: string;
};
export type Address = {
    name: string | null;
    email: string;
};
export type Attachment = {
    partId: string;
    filename: string | null;
    contentType: string;
    size: number;
    contentId: string | null;
    inline: boolean;
};
export type Placement = {
    id: string;
    mailboxId: string;
    keywords: {
        [key: string]: boolean;
    };
    state: "live" | "kept" | "removed";
    sync: "synced" | "pending" | "held" | "masked" | "canonical_only";
    reason: string;
    recoverableUntil: string | null;
    bindings: {
        endpointId: string;
        protocol: "imap" | "pop3";
        uid?: number;
        uidValidity?: number | null;
        uidl?: string;
    }[];
};
export type Message = {
    id: string;
    /** `sha256-<hex>`; null while the octets are not stored. */
    blobId: string | null;
    threadId: string;
    size: number;
    receivedAt: string;
    sentAt: string | null;
    messageId: string | null;
    subject: string | null;
    "from": Address[];
    to: Address[];
    cc: Address[];
    bcc: Address[];
    preview: string;
    hasAttachment: boolean;
    attachments: Attachment[];
    parseStatus: "parsed" | "failed" | "pending";
    parseError: string | null;
    mailboxIds: {
        [key: string]: boolean;
    };
    keywords: {
        [key: string]: boolean;
    };
    placements: Placement[];
};
export type WriteResult = {
    /** `applied`: durable in the canonical store; `placements[].sync` tells what upstream has confirmed. `superseded`: what others did meanwhile stands. */
    status: "applied" | "superseded" | "rejected" | "pending";
    /** Stable, for programs. */
    reason: string;
    /** A point in the account's log: `<epoch>.<seq>`. */
    state: string;
    message: Message | null;
    warnings?: string[];
};
export type MessageWithState = {
    id: string;
    /** `sha256-<hex>`; null while the octets are not stored. */
    blobId: string | null;
    threadId: string;
    size: number;
    receivedAt: string;
    sentAt: string | null;
    messageId: string | null;
    subject: string | null;
    "from": Address[];
    to: Address[];
    cc: Address[];
    bcc: Address[];
    preview: string;
    hasAttachment: boolean;
    attachments: Attachment[];
    parseStatus: "parsed" | "failed" | "pending";
    parseError: string | null;
    mailboxIds: {
        [key: string]: boolean;
    };
    keywords: {
        [key: string]: boolean;
    };
    placements: Placement[];
    state: string;
};
export type MessagePatch = {
    /** JSON merge patch: `true` sets a keyword, `null` or `false` takes it away, what is not named stays. JMAP spelling, e.g. `$seen`. */
    keywords?: {
        [key: string]: boolean | null;
    };
    /** JSON merge patch: `true` puts the message into a mailbox, `null` or `false` takes it out. One of each is a move, which keeps the placement. */
    mailboxIds?: {
        [key: string]: boolean | null;
    };
};
export type MessageBody = {
    /** Plain text; null when the message has none. */
    text: string | null;
    /** Sanitised; its `cid:` addresses name content ids of the attachments. Null when the message has none. */
    html: string | null;
    /** A body was longer than what is given. */
    truncated: boolean;
    /** A point in the account's log: `<epoch>.<seq>`. */
    state: string;
};
export type RestoreInput = {
    /** Where to; without it where the message came from. */
    mailboxId?: string;
};
export type PatchOp = {
    op: "patch";
    messageId: string;
    /** JSON merge patch: `true` sets a keyword, `null` or `false` takes it away, what is not named stays. JMAP spelling, e.g. `$seen`. */
    keywords?: {
        [key: string]: boolean | null;
    };
    /** JSON merge patch: `true` puts the message into a mailbox, `null` or `false` takes it out. One of each is a move, which keeps the placement. */
    mailboxIds?: {
        [key: string]: boolean | null;
    };
};
export type DeleteOp = {
    op: "delete";
    messageId: string;
};
export type PurgeOp = {
    op: "purge";
    messageId: string;
};
export type RestoreOp = {
    op: "restore";
    messageId: string;
    /** Where to; without it where the message came from. */
    mailboxId?: string;
};
export type BatchInput = {
    ops: (({
        op: "patch";
    } & PatchOp) | ({
        op: "delete";
    } & DeleteOp) | ({
        op: "purge";
    } & PurgeOp) | ({
        op: "restore";
    } & RestoreOp))[];
};
export type BatchResult = {
    results: {
        /** `applied`: durable in the canonical store; `placements[].sync` tells what upstream has confirmed. `superseded`: what others did meanwhile stands. */
        status: "applied" | "superseded" | "rejected" | "pending";
        reason: string;
        messageId: string;
        warnings?: string[];
    }[];
    /** A point in the account's log: `<epoch>.<seq>`. */
    state: string;
};
export type UndoResult = {
    /** `applied`: durable in the canonical store; `placements[].sync` tells what upstream has confirmed. `superseded`: what others did meanwhile stands. */
    status: "applied" | "superseded" | "rejected" | "pending";
    /** Stable, for programs. */
    reason: string;
    /** A point in the account's log: `<epoch>.<seq>`. */
    state: string;
    message: Message | null;
    warnings?: string[];
    mailbox?: Mailbox | null;
};
export type Change = {
    seq: number;
    /** A point in the account's log: `<epoch>.<seq>`. */
    state: string;
    at: string;
    kind: string;
    accountId: string;
    messageId: string | null;
    mailboxId: string | null;
    placementId: string | null;
    before: {
        [key: string]: any;
    } | {
        [key: string]: any;
    };
    after: {
        [key: string]: any;
    } | {
        [key: string]: any;
    };
    cause: {
        /** imap, pop3, api, rule or daemon. */
        source: string;
        endpointId: string | null;
        deviceId: string | null;
    };
    reason: string;
    rule: string | null;
    confidence: number | null;
    evidence: any[];
    /** SHA-256 over the hash of the change before and this change without its `hash`, as canonical JSON (RFC 8785). */
    hash: string;
};
export type WebhookInput = {
    /** https, at the usual port. Redirects are not followed. */
    url: string;
    /** The only accounts it is told of; null: all of the tenant, also those to come. */
    accountIds?: string[] | null;
    /** Kinds of changes, e.g. `message.created`; null: all. */
    kinds?: ("message.created" | "message.keywords" | "message.moved" | "message.kept" | "message.removed" | "message.restored" | "message.merged" | "message.purged" | "message.completed" | "mailbox.created" | "mailbox.renamed" | "mailbox.removed" | "account.state" | "coverage.gap" | "audit.repaired" | "epoch.changed" | "hold.opened" | "hold.closed" | "conflict.resolved" | "write.applied" | "write.held" | "write.failed")[] | null;
};
export type WebhookWithSecret = {
    id: string;
    url: string;
    /** The only accounts it is told of; null: all of the tenant, also those to come. */
    accountIds: string[] | null;
    kinds: string[] | null;
    state: "enabled" | "disabled";
    /** gone: the receiver answered 410; failing: nothing was taken for five days. */
    disabledBecause: ("asked" | "gone" | "failing" | null) | ("asked" | "gone" | "failing" | null);
    failingSince: string | null;
    /** After five failures in a row nothing is sent before; null: at once. */
    nextAttemptAt: string | null;
    /** To the minute. */
    lastSuccessAt: string | null;
    /** The secret before the rotation signs, too, until then. */
    previousSecretUntil: string | null;
    createdAt: string;
    /** `whsec_…`, shown this once. */
    secret: string;
};
export type Webhook = {
    id: string;
    url: string;
    /** The only accounts it is told of; null: all of the tenant, also those to come. */
    accountIds: string[] | null;
    kinds: string[] | null;
    state: "enabled" | "disabled";
    /** gone: the receiver answered 410; failing: nothing was taken for five days. */
    disabledBecause: ("asked" | "gone" | "failing" | null) | ("asked" | "gone" | "failing" | null);
    failingSince: string | null;
    /** After five failures in a row nothing is sent before; null: at once. */
    nextAttemptAt: string | null;
    /** To the minute. */
    lastSuccessAt: string | null;
    /** The secret before the rotation signs, too, until then. */
    previousSecretUntil: string | null;
    createdAt: string;
};
export type WebhookPatch = {
    /** https, at the usual port. Redirects are not followed. */
    url?: string;
    /** The only accounts it is told of; null: all of the tenant, also those to come. */
    accountIds?: string[] | null;
    /** Kinds of changes, e.g. `message.created`; null: all. */
    kinds?: ("message.created" | "message.keywords" | "message.moved" | "message.kept" | "message.removed" | "message.restored" | "message.merged" | "message.purged" | "message.completed" | "mailbox.created" | "mailbox.renamed" | "mailbox.removed" | "account.state" | "coverage.gap" | "audit.repaired" | "epoch.changed" | "hold.opened" | "hold.closed" | "conflict.resolved" | "write.applied" | "write.held" | "write.failed")[] | null;
    /** Enabled again, it goes on where it stood. */
    enabled?: boolean;
};
export type RotationInput = {
    /** How long the secret before signs, too. */
    overlapHours?: number;
};
export type ReplayInput = {
    accountId: string;
    /** A state: what came after it is sent, again or for the first time, under the ids it always has. */
    since: string;
};
export type Delivery = {
    id: string;
    /** null, as `seq`: a test event. */
    accountId: string | null;
    seq: number | null;
    kind: string;
    attempt: number;
    at: string;
    /** Only 2xx is success. blocked: the address is not allowed; cut: the log does not go back so far, replay from a later state. */
    result: "2xx" | "3xx" | "4xx" | "5xx" | "gone" | "timeout" | "unreachable" | "blocked" | "cut";
    status: number | null;
    durationMs: number;
};
export type KeyInput = {
    name: string;
    scopes: ("mail:read" | "mail:write" | "accounts" | "ops")[];
    accountIds?: string[] | null;
    expiresAt?: string | null;
    /** Operator only: whose key it is. */
    tenantId?: string;
};
export type NewKey = {
    id: string;
    tenantId: string;
    name: string;
    scopes: ("mail:read" | "mail:write" | "accounts" | "ops")[];
    /** The only accounts the key may see; null: all of the tenant. */
    accountIds: string[] | null;
    expiresAt: string | null;
    /** To the minute. */
    lastUsedAt: string | null;
    createdAt: string;
    /** Shown this once. */
    key: string;
};
export type Key = {
    id: string;
    tenantId: string;
    name: string;
    scopes: ("mail:read" | "mail:write" | "accounts" | "ops")[];
    /** The only accounts the key may see; null: all of the tenant. */
    accountIds: string[] | null;
    expiresAt: string | null;
    /** To the minute. */
    lastUsedAt: string | null;
    createdAt: string;
};
export type TenantInput = {
    name: string;
};
export type Tenant = {
    id: string;
    name: string;
    createdAt: string;
};
export type Fleet = {
    version: string;
    /** Accounts by sync state. */
    accounts: {
        [key: string]: number;
    };
    /** Seconds since the last good look, over endpoints. */
    lagSeconds: {
        p50: number | null;
        p95: number | null;
        p99: number | null;
    };
    queue: {
        /** Hints in the queues; null: the queue is out of reach. */
        depth: {
            waiting: number;
            active: number;
            delayed: number;
        } | null;
        /** How long the longest waiting endpoint has been due. */
        overdueSeconds: number;
    };
    shards: {
        id: number;
        owner: string | null;
        host: string | null;
        epoch: string;
        heartbeatExpiresAt: string | null;
    }[];
    /** Data keys and webhook secrets not yet sealed under today's SAMEBOX_SECRET_KEY. For the operator; null: not told. */
    underOtherKeys: number | null;
};
export type Action = {
    id: string;
    at: string;
    /** null: the operator's key. */
    keyId: string | null;
    method: string;
    /** The pattern of the path. */
    route: string;
    accountId: string | null;
    /** Ids in the path, and `created`: what the request made. */
    objects: {
        [key: string]: string;
    };
    /** What the request set: parameters (`?purge`) and fields of its body (`/policy/retentionDays`), each with a digest of its value. A value that is set again has the same digest while SAMEBOX_SECRET_KEY is the same. null: it holds a secret. */
    fields: {
        [key: string]: string | null;
    };
    /** The status that was answered. */
    status: number;
    /** Where the request came from. */
    address: string;
    requestId: string;
};
/**
 * Does the process answer?
 */
export function isAlive(opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            status: "alive";
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>("/livez", {
        ...opts
    });
}
/**
 * Should it get requests?
 */
export function isReady(opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            status: "ready";
            /** Out of reach, mail is read all the same, only later. */
            queue: "reachable" | "unreachable";
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>("/readyz", {
        ...opts
    });
}
/**
 * Figures for Prometheus
 */
export function getMetrics(opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: string;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>("/metrics", {
        ...opts
    });
}
/**
 * Create an account and begin to sync it
 */
export function createAccount({ accountInput }: {
    accountInput: AccountInputWrite;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 201;
        data: Account;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>("/v1/accounts", oazapfts.json({
        ...opts,
        method: "POST",
        body: accountInput
    }));
}
/**
 * List accounts, oldest first
 */
export function listAccounts({ limit, cursor }: {
    limit?: number;
    cursor?: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            items: Account[];
            nextCursor: string | null;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts${QS.query(QS.explode({
        limit,
        cursor
    }))}`, {
        ...opts
    });
}
/**
 * Read an account
 */
export function getAccount({ accountId }: {
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: Account;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}`, {
        ...opts
    });
}
/**
 * Change an account; new credentials are tried at once
 */
export function updateAccount({ accountId, accountPatch }: {
    accountId: string;
    accountPatch: AccountPatchWrite;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: Account;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}`, oazapfts.json({
        ...opts,
        method: "PATCH",
        body: accountPatch
    }));
}
/**
 * Remove an account with its stored mail; nothing is changed upstream
 */
export function deleteAccount({ accountId }: {
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 204;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}`, {
        ...opts,
        method: "DELETE"
    });
}
/**
 * How the account is doing
 */
export function getAccountStatus({ accountId }: {
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: AccountStatus;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/status`, {
        ...opts
    });
}
/**
 * Look for news now, and send what is owed; what a server refused for other reasons than room keeps its waits
 */
export function syncAccount({ accountId }: {
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 202;
        data: Account;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/sync`, {
        ...opts,
        method: "POST"
    });
}
/**
 * Read everything anew: what is learned of the servers, their mailboxes, all ids and flags, and bodies that are missing here
 */
export function resyncAccount({ accountId }: {
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 202;
        data: Account;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/resync`, {
        ...opts,
        method: "POST"
    });
}
/**
 * Stop all work on the account
 */
export function pauseAccount({ accountId }: {
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 202;
        data: Account;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/pause`, {
        ...opts,
        method: "POST"
    });
}
/**
 * Go on with a paused account
 */
export function resumeAccount({ accountId }: {
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 202;
        data: Account;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/resume`, {
        ...opts,
        method: "POST"
    });
}
/**
 * Changes that are held back until somebody decides, oldest first
 */
export function listHolds({ limit, cursor, accountId }: {
    limit?: number;
    cursor?: string;
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            items: Hold[];
            nextCursor: string | null;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/holds${QS.query(QS.explode({
        limit,
        cursor
    }))}`, {
        ...opts
    });
}
/**
 * Say that the server is right
 */
export function approveHold({ accountId, holdId }: {
    accountId: string;
    holdId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 202;
        data: Hold;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/holds/${encodeURIComponent(holdId)}/approve`, {
        ...opts,
        method: "POST"
    });
}
/**
 * Say that what is here is right
 */
export function rejectHold({ accountId, holdId }: {
    accountId: string;
    holdId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 202;
        data: Hold;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/holds/${encodeURIComponent(holdId)}/reject`, {
        ...opts,
        method: "POST"
    });
}
/**
 * The messages that would stand elsewhere under another policy; nothing is changed
 */
export function simulatePolicy({ limit, cursor, accountId, policyPatch }: {
    limit?: number;
    cursor?: string;
    accountId: string;
    policyPatch: PolicyPatch;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            policy: Policy;
            total: number;
            items: PolicyEffect[];
            nextCursor: string | null;
            /** A point in the account's log: `<epoch>.<seq>`. */
            state: string;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/policy/simulate${QS.query(QS.explode({
        limit,
        cursor
    }))}`, oazapfts.json({
        ...opts,
        method: "POST",
        body: policyPatch
    }));
}
/**
 * Take an endpoint from the account; its mail stays, and nothing is changed upstream
 */
export function deleteEndpoint({ accountId, endpointId }: {
    accountId: string;
    endpointId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 204;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/endpoints/${encodeURIComponent(endpointId)}`, {
        ...opts,
        method: "DELETE"
    });
}
/**
 * Look at one endpoint: what it can do, and what to set on the devices that use it
 */
export function probeEndpoint({ endpointInput }: {
    endpointInput: EndpointInputWrite;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: Probe;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>("/v1/probe", oazapfts.json({
        ...opts,
        method: "POST",
        body: endpointInput
    }));
}
/**
 * Likely settings for an address
 */
export function discoverSettings({ email }: {
    email: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: Discovery;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/discover${QS.query(QS.explode({
        email
    }))}`, {
        ...opts
    });
}
/**
 * All mailboxes of the account with their counters
 */
export function listMailboxes({ accountId }: {
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            items: Mailbox[];
            /** A point in the account's log: `<epoch>.<seq>`. */
            state: string;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/mailboxes`, {
        ...opts
    });
}
/**
 * Make a mailbox
 */
export function createMailbox({ accountId, mailboxInput }: {
    accountId: string;
    mailboxInput: MailboxInput;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 201;
        data: MailboxWriteResult;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/mailboxes`, oazapfts.json({
        ...opts,
        method: "POST",
        body: mailboxInput
    }));
}
/**
 * Every change of the mailbox itself, oldest first: what, when, by whom, on what evidence, and how to get another outcome
 */
export function explainMailbox({ limit, cursor, accountId, mailboxId }: {
    limit?: number;
    cursor?: string;
    accountId: string;
    mailboxId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            items: ToldChange[];
            /** What is held back where it is, until somebody decides; with each page. */
            holds: ToldHold[];
            nextCursor: string | null;
            /** A point in the account's log: `<epoch>.<seq>`. */
            state: string;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/mailboxes/${encodeURIComponent(mailboxId)}/explain${QS.query(QS.explode({
        limit,
        cursor
    }))}`, {
        ...opts
    });
}
/**
 * Rename a mailbox, put it elsewhere, or give it a role
 */
export function updateMailbox({ accountId, mailboxId, mailboxPatch }: {
    accountId: string;
    mailboxId: string;
    mailboxPatch: MailboxPatch;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: MailboxWriteResult;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/mailboxes/${encodeURIComponent(mailboxId)}`, oazapfts.json({
        ...opts,
        method: "PATCH",
        body: mailboxPatch
    }));
}
/**
 * Remove a mailbox
 */
export function deleteMailbox({ moveMessagesTo, accountId, mailboxId }: {
    moveMessagesTo?: string;
    accountId: string;
    mailboxId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: MailboxRemoval;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/mailboxes/${encodeURIComponent(mailboxId)}${QS.query(QS.explode({
        moveMessagesTo
    }))}`, {
        ...opts,
        method: "DELETE"
    });
}
/**
 * Messages, newest first
 */
export function listMessages({ limit, cursor, mailboxId, role, keyword, notKeyword, messageId, text, since, before, include, accountId }: {
    limit?: number;
    cursor?: string;
    mailboxId?: string;
    role?: "inbox" | "archive" | "drafts" | "sent" | "junk" | "trash";
    keyword?: string;
    notKeyword?: string;
    messageId?: string;
    text?: string;
    since?: string;
    before?: string;
    include?: "removed";
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            items: Message[];
            nextCursor: string | null;
            /** A point in the account's log: `<epoch>.<seq>`. */
            state: string;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/messages${QS.query(QS.explode({
        limit,
        cursor,
        mailboxId,
        role,
        keyword,
        notKeyword,
        messageId,
        text,
        since,
        before,
        include
    }))}`, {
        ...opts
    });
}
/**
 * Import a message
 */
export function importMessage({ mailboxId, replaces, keywords, receivedAt, accountId, body }: {
    mailboxId?: string;
    replaces?: string;
    keywords?: string[];
    receivedAt?: string;
    accountId: string;
    body: any;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: WriteResult;
    } | {
        status: 201;
        data: WriteResult;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/messages${QS.query(QS.explode({
        mailboxId,
        replaces,
        keywords,
        receivedAt
    }))}`, {
        ...opts,
        method: "POST",
        body
    });
}
/**
 * One message
 */
export function getMessage({ accountId, messageId }: {
    accountId: string;
    messageId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: MessageWithState;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/messages/${encodeURIComponent(messageId)}`, {
        ...opts
    });
}
/**
 * Change the keywords and mailboxes of a message
 */
export function updateMessage({ accountId, messageId, messagePatch }: {
    accountId: string;
    messageId: string;
    messagePatch: MessagePatch;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: WriteResult;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/messages/${encodeURIComponent(messageId)}`, oazapfts.json({
        ...opts,
        method: "PATCH",
        body: messagePatch
    }));
}
/**
 * Move a message to Trash, or destroy it
 */
export function deleteMessage({ purge, accountId, messageId }: {
    purge?: boolean;
    accountId: string;
    messageId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: WriteResult;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/messages/${encodeURIComponent(messageId)}${QS.query(QS.explode({
        purge
    }))}`, {
        ...opts,
        method: "DELETE"
    });
}
/**
 * Every change of the message, oldest first: what, when, by whom, on what evidence, and how to get another outcome
 */
export function explainMessage({ limit, cursor, accountId, messageId }: {
    limit?: number;
    cursor?: string;
    accountId: string;
    messageId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            items: ToldChange[];
            /** What is held back where it is, until somebody decides; with each page. */
            holds: ToldHold[];
            nextCursor: string | null;
            /** A point in the account's log: `<epoch>.<seq>`. */
            state: string;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/messages/${encodeURIComponent(messageId)}/explain${QS.query(QS.explode({
        limit,
        cursor
    }))}`, {
        ...opts
    });
}
/**
 * The message byte for byte as first read; range requests
 */
export function getMessageOctets({ accountId, messageId }: {
    accountId: string;
    messageId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: string;
    } | {
        status: 206;
        data: string;
    } | {
        status: 304;
        data: any;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/messages/${encodeURIComponent(messageId)}/raw`, {
        ...opts
    });
}
/**
 * Text and HTML, decoded; the HTML is sanitised
 */
export function getMessageBody({ accountId, messageId }: {
    accountId: string;
    messageId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: MessageBody;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/messages/${encodeURIComponent(messageId)}/body`, {
        ...opts
    });
}
/**
 * One decoded part, as a download
 */
export function getAttachment({ accountId, messageId, partId }: {
    accountId: string;
    messageId: string;
    partId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: string;
    } | {
        status: 206;
        data: string;
    } | {
        status: 304;
        data: any;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/messages/${encodeURIComponent(messageId)}/attachments/${encodeURIComponent(partId)}`, {
        ...opts
    });
}
/**
 * Bring a removed or trashed message back
 */
export function restoreMessage({ accountId, messageId, body }: {
    accountId: string;
    messageId: string;
    body: RestoreInput | null;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: WriteResult;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/messages/${encodeURIComponent(messageId)}/restore`, oazapfts.json({
        ...opts,
        method: "POST",
        body
    }));
}
/**
 * Several operations, in order, each with its own result
 */
export function runBatch({ accountId, batchInput }: {
    accountId: string;
    batchInput: BatchInput;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: BatchResult;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/batch`, oazapfts.json({
        ...opts,
        method: "POST",
        body: batchInput
    }));
}
/**
 * The inverse of one change, as an ordinary write
 */
export function undoChange({ accountId, seq }: {
    accountId: string;
    seq: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: UndoResult;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/changes/${encodeURIComponent(seq)}/undo`, {
        ...opts,
        method: "POST"
    });
}
/**
 * Changes since a state, oldest first, without gaps
 */
export function listChanges({ since, limit, accountId }: {
    since: string;
    limit?: number;
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            /** A point in the account's log: `<epoch>.<seq>`. */
            oldState: string;
            /** Where to go on from: `since` of the next call. */
            newState: string;
            hasMore: boolean;
            items: Change[];
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/changes${QS.query(QS.explode({
        since,
        limit
    }))}`, {
        ...opts
    });
}
/**
 * Changes as they happen: server-sent events; `id:` is the state, so that Last-Event-ID resumes without a gap
 */
export function streamEvents({ since, accountId }: {
    since?: string;
    accountId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: string;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/accounts/${encodeURIComponent(accountId)}/events${QS.query(QS.explode({
        since
    }))}`, {
        ...opts
    });
}
/**
 * Make a webhook; its secret is shown this once
 */
export function createWebhook({ webhookInput }: {
    webhookInput: WebhookInput;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 201;
        data: WebhookWithSecret;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>("/v1/webhooks", oazapfts.json({
        ...opts,
        method: "POST",
        body: webhookInput
    }));
}
/**
 * List webhooks, newest first
 */
export function listWebhooks({ limit, cursor }: {
    limit?: number;
    cursor?: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            items: Webhook[];
            nextCursor: string | null;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/webhooks${QS.query(QS.explode({
        limit,
        cursor
    }))}`, {
        ...opts
    });
}
/**
 * One webhook
 */
export function getWebhook({ webhookId }: {
    webhookId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: Webhook;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/webhooks/${encodeURIComponent(webhookId)}`, {
        ...opts
    });
}
/**
 * Change it, disable it or enable it
 */
export function updateWebhook({ webhookId, webhookPatch }: {
    webhookId: string;
    webhookPatch: WebhookPatch;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: Webhook;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/webhooks/${encodeURIComponent(webhookId)}`, oazapfts.json({
        ...opts,
        method: "PATCH",
        body: webhookPatch
    }));
}
/**
 * Delete it; nothing more is sent
 */
export function deleteWebhook({ webhookId }: {
    webhookId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 204;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/webhooks/${encodeURIComponent(webhookId)}`, {
        ...opts,
        method: "DELETE"
    });
}
/**
 * A new secret, shown this once; the one before signs, too, for a while
 */
export function rotateWebhookSecret({ webhookId, rotationInput }: {
    webhookId: string;
    rotationInput: RotationInput;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: WebhookWithSecret;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/webhooks/${encodeURIComponent(webhookId)}/secret`, oazapfts.json({
        ...opts,
        method: "POST",
        body: rotationInput
    }));
}
/**
 * Send an event `webhook.test`, once, also where it is disabled
 */
export function testWebhook({ webhookId }: {
    webhookId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 202;
        data: {
            /** Listed with the deliveries once it was tried. */
            deliveryId: string;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/webhooks/${encodeURIComponent(webhookId)}/test`, {
        ...opts,
        method: "POST"
    });
}
/**
 * Send an account's changes from any state on
 */
export function replayToWebhook({ webhookId, replayInput }: {
    webhookId: string;
    replayInput: ReplayInput;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 202;
        data: {};
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/webhooks/${encodeURIComponent(webhookId)}/replay`, oazapfts.json({
        ...opts,
        method: "POST",
        body: replayInput
    }));
}
/**
 * What was sent in the last seven days and what became of it, newest first
 */
export function listDeliveries({ limit, cursor, webhookId }: {
    limit?: number;
    cursor?: string;
    webhookId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            items: Delivery[];
            nextCursor: string | null;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/webhooks/${encodeURIComponent(webhookId)}/deliveries${QS.query(QS.explode({
        limit,
        cursor
    }))}`, {
        ...opts
    });
}
/**
 * Make a key; its secret is shown this once
 */
export function createKey({ keyInput }: {
    keyInput: KeyInput;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 201;
        data: NewKey;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>("/v1/keys", oazapfts.json({
        ...opts,
        method: "POST",
        body: keyInput
    }));
}
/**
 * List keys, newest first
 */
export function listKeys({ limit, cursor }: {
    limit?: number;
    cursor?: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            items: Key[];
            nextCursor: string | null;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/keys${QS.query(QS.explode({
        limit,
        cursor
    }))}`, {
        ...opts
    });
}
/**
 * Delete a key; it stops to work at once
 */
export function deleteKey({ keyId }: {
    keyId: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 204;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/keys/${encodeURIComponent(keyId)}`, {
        ...opts,
        method: "DELETE"
    });
}
/**
 * Make a tenant (operator)
 */
export function createTenant({ tenantInput }: {
    tenantInput: TenantInput;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 201;
        data: Tenant;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>("/v1/tenants", oazapfts.json({
        ...opts,
        method: "POST",
        body: tenantInput
    }));
}
/**
 * List tenants (operator)
 */
export function listTenants({ limit, cursor }: {
    limit?: number;
    cursor?: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            items: Tenant[];
            nextCursor: string | null;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/tenants${QS.query(QS.explode({
        limit,
        cursor
    }))}`, {
        ...opts
    });
}
/**
 * How the installation is doing
 */
export function getFleetStatus(opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: Fleet;
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>("/v1/status", {
        ...opts
    });
}
/**
 * What was done over the API, and by which key; newest first
 */
export function listActions({ limit, cursor }: {
    limit?: number;
    cursor?: string;
}, opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            items: Action[];
            nextCursor: string | null;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>(`/v1/audit${QS.query(QS.explode({
        limit,
        cursor
    }))}`, {
        ...opts
    });
}
/**
 * This description
 */
export function getDescription(opts?: Oazapfts.RequestOpts) {
    return oazapfts.fetchJson<{
        status: 200;
        data: {
            [key: string]: any;
        };
    } | {
        status: 400;
        data: Problem;
    } | {
        status: 401;
        data: Problem;
    } | {
        status: 403;
        data: Problem;
    } | {
        status: 404;
        data: Problem;
    } | {
        status: 405;
        data: Problem;
    } | {
        status: 408;
        data: Problem;
    } | {
        status: 409;
        data: Problem;
    } | {
        status: 413;
        data: Problem;
    } | {
        status: 415;
        data: Problem;
    } | {
        status: 416;
        data: Problem;
    } | {
        status: 422;
        data: Problem;
    } | {
        status: 429;
        data: Problem;
    } | {
        status: 431;
        data: Problem;
    } | {
        status: 500;
        data: Problem;
    } | {
        status: 503;
        data: Problem;
    }>("/openapi.json", {
        ...opts
    });
}
