/**
 * What checks and writes JSON is made of a schema when that is first used. Left to itself Fastify makes all of it before it
 * listens: a third of what a start costs.
 */
import ajvCompiler from "@fastify/ajv-compiler";
import jsonCompiler from "@fastify/fast-json-stringify-compiler";
import type { FastifyServerOptions } from "fastify";

type Factories = NonNullable<NonNullable<FastifyServerOptions["schemaController"]>["compilersFactory"]>;
type Check = ((data: unknown) => unknown) & { errors?: unknown };

/** The same value each time, made the first time. */
const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
};

const buildChecks = ajvCompiler();
const buildWriters = jsonCompiler();

/** Fastify reads from the check that it called what was wrong. */
const lazyCheck = (make: () => Check): Check => {
  const made = once(make);
  const check: Check = (data) => {
    const answer = made()(data);
    check.errors = made().errors;
    return answer;
  };
  return check;
};

/** For Fastify's `schemaController`. A schema of which nothing can be made fails the request that needs it. */
export const lazySchemas = {
  buildValidator: (...given: Parameters<typeof buildChecks>) => {
    const compiler = once(() => buildChecks(...given));
    return (route: Parameters<ReturnType<typeof buildChecks>>[0]) => lazyCheck(() => compiler()(route) as Check);
  },
  buildSerializer: (...given: Parameters<typeof buildWriters>) => {
    const compiler = once(() => buildWriters(...given));
    return (route: Parameters<ReturnType<typeof buildWriters>>[0]) => {
      const made = once(() => compiler()(route));
      return (data: unknown) => made()(data);
    };
  },
} as unknown as Factories;
