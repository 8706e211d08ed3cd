// Okapi BM25: S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with an
// inverse document frequency that is never negative.

const K1 = 1.2
const B = 0.75

/** How much it says that a document holds a term which `holding` of so many documents hold (SPEC [SR2]). */
export function inverseDocumentFrequency(documents: number, holding: number): number {
  return Math.log((documents - holding + 0.5) / (holding + 0.5) + 1)
}

/**
 * How much a document is about a term, beside its inverse document frequency (SPEC [SR2]): how often it holds the term,
 * how many terms it has, and how many documents have on average.
 */
export function termSaturation(frequency: number, length: number, averageLength: number): number {
  return saturation(frequency, lengthNorm(length, averageLength))
}

/** What the length of a document does to `saturation`: the same for all terms of documents that are as long. */
export function lengthNorm(length: number, averageLength: number): number {
  return K1 * (averageLength === 0 ? 1 : 1 - B + (B * length) / averageLength)
}

/** `termSaturation` where the norm of the document's length is known. */
export function saturation(frequency: number, norm: number): number {
  return (frequency * (K1 + 1)) / (frequency + norm)
}
