/** What a key may do. */
export type Scope = "mail:read" | "mail:write" | "accounts" | "ops";

export const allScopes: readonly Scope[] = ["mail:read", "mail:write", "accounts", "ops"];
