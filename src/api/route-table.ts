/** Which methods a path knows, so that a known path with another method is 405 and names what it offers. */
import type { RouteOptions } from "fastify";
import { notFound, ProblemError } from "./problem.ts";

interface Entry {
  readonly pattern: RegExp;
  readonly methods: Set<string>;
}

const toPattern = (url: string): RegExp =>
  new RegExp(
    `^${url
      .replace(/[.+?^${}()|[\]\\]/g, String.raw`\$&`)
      .replace(/:[^/]+/g, "[^/]+")
      .replace(/\*/g, ".*")}$`,
  );

export class RouteTable {
  private readonly entries = new Map<string, Entry>();

  add(route: RouteOptions): void {
    const entry = this.entries.get(route.url) ?? { pattern: toPattern(route.url), methods: new Set<string>() };
    for (const method of [route.method].flat()) entry.methods.add(method);
    this.entries.set(route.url, entry);
  }

  /** The answer to a request that no route took. */
  refuse(path: string): ProblemError {
    const methods = new Set<string>();
    for (const entry of this.entries.values())
      if (entry.pattern.test(path)) for (const method of entry.methods) methods.add(method);
    if (methods.size === 0) return notFound("path");
    const allow = [...methods].sort().join(", ");
    return new ProblemError("method_not_allowed", `This path offers ${allow}.`, { headers: { allow } });
  }
}
