// MiniSearch by itself, with the same terms and parameters: what a search costs without a server around it.
import { queryTerms, searchTerms } from '@syncline/core/search'
import MiniSearch from 'minisearch'
import { Histogram } from '../lib/histogram.ts'
import { answer, processArguments } from '../lib/remote.ts'
import { Corpus, type Mix } from './corpus.ts'

const { documents } = processArguments() as { readonly documents: number }
const corpus = new Corpus(1)
let isTyping = false
const index = new MiniSearch<{ readonly key: string; readonly text: string }>({
  fields: ['text'],
  idField: 'key',
  tokenize: searchTerms,
  processTerm: (term) => term,
  searchOptions: {
    bm25: { k: 1.2, b: 0.75, d: 0 },
    // What a stem lacks of the word that is being typed is not looked for: this is its own search of a prefix.
    tokenize: (text) => queryTerms(text, isTyping).map(({ term, prefix = term }) => prefix),
    prefix: (_, i, terms) => isTyping && i === terms.length - 1,
    weights: { fuzzy: 1, prefix: 1 },
  },
})

answer({
  fill() {
    for (let i = 0; i < documents; i++) {
      const { title, body } = corpus.note()
      index.add({ key: `k${i}`, text: `${title} ${body}` })
    }
  },
  search({ mix, ms }: { readonly mix: Mix; readonly ms: number }) {
    const latencies = new Histogram()
    const until = performance.now() + ms
    while (performance.now() < until) {
      const query = corpus.query(mix)
      const startedAt = performance.now()
      isTyping = query.prefix
      index.search(query.text).slice(0, 10)
      latencies.add(performance.now() - startedAt)
    }
    return { p50Ms: latencies.percentile(0.5), p99Ms: latencies.percentile(0.99), searches: latencies.count }
  },
  stop() {},
})
