export { inverseDocumentFrequency, lengthNorm, saturation, termSaturation } from './search/bm25.ts'
export { isQueryTerm, queryTerms, searchTerms, searchedText, type QueryTerm } from './search/terms.ts'
export { STOP_WORDS } from './search/stop-words.ts'
