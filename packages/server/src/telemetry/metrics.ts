/** The labels of one series, by name. */
export type Labels = Readonly<Record<string, string>>

/** What has been counted, or how much there is, under one name. */
export interface Metric {
  readonly name: string
  /** `counter`: grows from 0 at the start of the server. `gauge`: goes up and down. */
  readonly type: 'counter' | 'gauge'
  /** What it says, in one sentence. */
  readonly help: string
  /** One value for each combination of labels that has occurred; one without labels where it has none. */
  readonly values: readonly { readonly labels: Labels; readonly value: number }[]
}

/** Combinations of labels that one metric tells apart. All that come beyond them share one, whose labels say `other`. */
export const MAX_SERIES = 200
const OTHER = 'other'

const NAME = /^[a-z][a-z0-9_]*$/

/** One number. Whoever counts keeps it, so that counting is an addition and nothing else. */
export class Series {
  readonly labels: Labels
  value = 0

  constructor(labels: Labels) {
    this.labels = labels
  }

  /** Counts one, or several. */
  add(amount: number = 1): void {
    this.value += amount
  }
}

/** A metric whose values are told apart by labels. */
export class LabelledSeries<Label extends string = string> {
  readonly #names: readonly Label[]
  readonly #byValues = new Map<string, Series>()

  constructor(names: readonly Label[]) {
    this.#names = names
  }

  /** The number of these labels, which is the same one each time. */
  of(labels: Readonly<Record<Label, string>>): Series {
    const key = this.#names.length === 1 ? labels[this.#names[0] as Label] : this.#keyOf(labels)
    return this.#byValues.get(key) ?? this.#add(key, labels)
  }

  all(): readonly Series[] {
    return [...this.#byValues.values()]
  }

  #add(key: string, labels: Readonly<Record<Label, string>>): Series {
    if (this.#byValues.size >= MAX_SERIES) {
      const others = Object.fromEntries(this.#names.map((name) => [name, OTHER])) as Record<Label, string>
      const otherKey = this.#names.length === 1 ? OTHER : this.#keyOf(others)
      const series = this.#byValues.get(otherKey) ?? new Series(others)
      this.#byValues.set(otherKey, series)
      return series
    }
    const own = Object.fromEntries(this.#names.map((name) => [name, labels[name]])) as Labels
    const series = new Series(own)
    this.#byValues.set(key, series)
    return series
  }

  #keyOf(labels: Readonly<Record<Label, string>>): string {
    return JSON.stringify(this.#names.map((name) => labels[name]))
  }
}

interface Registered {
  readonly type: Metric['type']
  readonly help: string
  readonly read: () => Metric['values']
}

/** All that the server counts and measures of itself, by name. Names of the server's own begin with `syncline_`. */
export class Metrics {
  readonly #byName = new Map<string, Registered>()

  /** Something that is counted. By custom its name ends in `_total`. Throws where the name is taken. */
  counter(name: string, help: string): Series {
    const series = new Series({})
    this.#register(name, 'counter', help, () => [series])
    return series
  }

  /** The same, told apart by labels, of which there must be few: never keys, users or sessions. */
  labelledCounter<const Label extends string>(
    name: string,
    help: string,
    labels: readonly Label[],
  ): LabelledSeries<Label> {
    const series = new LabelledSeries(labels)
    this.#register(name, 'counter', help, () => series.all())
    return series
  }

  /** Something that is read when it is asked for, and costs nothing until then. Throws where the name is taken. */
  gauge(name: string, help: string, read: () => number): void {
    this.#register(name, 'gauge', help, () => [{ labels: {}, value: read() }])
  }

  /** A gauge that is kept, for what cannot be read. */
  heldGauge(name: string, help: string): Series {
    const series = new Series({})
    this.#register(name, 'gauge', help, () => [series])
    return series
  }

  /** What there is now, in the order of names. */
  read(): Metric[] {
    return [...this.#byName]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { type, help, read }]) => ({
        name,
        type,
        help,
        values: read().map(({ labels, value }) => ({ labels, value })),
      }))
  }

  #register(name: string, type: Metric['type'], help: string, read: () => Metric['values']): void {
    if (!NAME.test(name)) throw new Error(`'${name}' is no name of a metric: give lower-case words joined by _.`)
    if (help === '') throw new Error(`The metric ${name} needs a sentence that says what it is.`)
    if (this.#byName.has(name)) throw new Error(`There is a metric ${name} already.`)
    this.#byName.set(name, { type, help, read })
  }
}
