/** Runs of each law. CI uses the default, a release more. */
export const RUNS = Number(process.env['SYNCLINE_PROPERTY_RUNS'] ?? 10_000)

/** For `it`: a law may take as long as its runs need. */
export const LAW = { timeout: 10_000 + 5 * RUNS }
