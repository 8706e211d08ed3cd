export { inverseDocumentFrequency, termSaturation } from './search/bm25.ts'
export { isQueryTerm, queryTerms, searchTerms, searchedText, type QueryTerm } from './search/terms.ts'
