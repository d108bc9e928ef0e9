/** The typed client, made of the description of the API. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateSource } from "oazapfts";

interface Description {
  readonly info: object;
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly responses: Readonly<Record<string, unknown>> }>>>>;
}

/** The generator writes a range of statuses down as it stands, which is no type: each status that may come has an entry. */
const failures = {
  "4XX": [400, 401, 403, 404, 405, 408, 409, 413, 415, 416, 422, 429, 431],
  "5XX": [500, 503],
} as const;

const spellOut = (responses: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(responses).flatMap(([status, answer]) =>
      status === "4XX" || status === "5XX" ? failures[status].map((one) => [String(one), answer]) : [[status, answer]],
    ),
  );

/** Under `exactOptionalPropertyTypes` what the generator writes does not pass; who uses it is checked all the same. */
const unchecked = "// @ts-nocheck\n";

/** @param description of `/openapi.json`. @returns TypeScript. */
export const clientSource = async (description: Description): Promise<string> => {
  const paths = Object.fromEntries(
    Object.entries(description.paths).map(([path, methods]) => [
      path,
      Object.fromEntries(
        Object.entries(methods).map(([method, operation]) => [
          method,
          { ...operation, responses: spellOut(operation.responses) },
        ]),
      ),
    ]),
  );
  const folder = await mkdtemp(join(tmpdir(), "samebox-client-"));
  try {
    const file = join(folder, "openapi.json");
    // The version of the API is not the version of what describes it: a release alone changes nothing here.
    await writeFile(file, JSON.stringify({ ...description, info: { ...description.info, version: "1" }, paths }));
    return `${unchecked}${await generateSource(file, { argumentStyle: "object" })}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
