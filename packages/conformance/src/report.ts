import { styleText } from 'node:util'
import type { Outcome } from './run.ts'
import type { ServerFacts } from './trial.ts'
import type { Encoding } from './wire.ts'

type Style = Parameters<typeof styleText>[0]
const MARKS = { passed: '✓', failed: '✗', skipped: '–' } as const
const STYLES: Readonly<Record<Outcome['status'], Style>> = { passed: 'green', failed: 'red', skipped: 'yellow' }

/** One line of the report: a check, in all encodings in which it was made. */
interface Line {
  readonly group: string
  readonly rule: string
  readonly title: string
  readonly outcomes: Outcome[]
}

/** Writes a report for people, line by line as the checks are made. */
export class Report {
  readonly #write: (text: string) => void
  readonly #color: (style: Style, text: string) => string
  readonly #width: number
  readonly #encodings: readonly Encoding[]
  #line: Line | undefined
  #group: string | undefined

  constructor(
    write: (text: string) => void,
    options: { readonly color: boolean; readonly width: number; readonly encodings: readonly Encoding[] },
  ) {
    this.#write = (text) => write(`${text}\n`)
    this.#color = (style, text) => (options.color ? styleText(style, text, { validateStream: false }) : text)
    this.#width = Math.max(60, Math.min(options.width, 110))
    this.#encodings = options.encodings
  }

  /** Who is examined. */
  begin(subject: string, details: readonly string[]): void {
    this.#write('')
    this.#write(`  ${this.#color('bold', 'Syncline conformance')}  ${this.#color('cyan', subject)}`)
    this.#write(`  ${this.#color('dim', details.join(' · '))}`)
  }

  /** One more check was made. */
  add(outcome: Outcome): void {
    const { group, rule, title } = outcome
    if (this.#line?.rule === rule && this.#line.title === title && this.#line.group === group) {
      this.#line.outcomes.push(outcome)
      return
    }
    this.#flush()
    this.#line = { group, rule, title, outcomes: [outcome] }
  }

  /** What it all comes to. */
  end(outcomes: readonly Outcome[], seconds: number): void {
    this.#flush()
    const { held, broken, unseen } = summary(outcomes)
    const count = (rules: readonly string[], style: Style, words: string): string =>
      rules.length === 0 ? this.#color('dim', `0 ${words}`) : this.#color(style, `${rules.length} ${words}`)
    this.#write('')
    this.#write(`  ${this.#color('dim', '─'.repeat(this.#width - 4))}`)
    this.#write(
      `  ${this.#color('bold', `${held.length + broken.length + unseen.length} rules`)}   ${count(held, 'green', 'hold')}   ${count(broken, 'red', 'do not')}   ${count(unseen, 'yellow', 'not seen')}   ${this.#color('dim', `${outcomes.length} checks in ${seconds.toFixed(1)} s`)}`,
    )
    if (broken.length > 0) this.#list('red', 'Broken:', broken.join(' '))
    // What would show them stands once for all that it would show.
    const reasons = new Map<string, string[]>()
    for (const rule of unseen) {
      const reason = outcomes.find((outcome) => outcome.rule === rule)?.reason ?? ''
      reasons.set(reason, [...(reasons.get(reason) ?? []), rule])
    }
    for (const [reason, rules] of reasons) this.#list('yellow', 'Not seen:', `${rules.join(' ')}  ${reason}`)
    this.#write('')
  }

  #flush(): void {
    const line = this.#line
    if (line === undefined) return
    this.#line = undefined
    if (line.group !== this.#group) {
      this.#group = line.group
      this.#write('')
      this.#write(`  ${this.#color('bold', line.group)}`)
    }
    const status = worst(line.outcomes)
    const mark = this.#color(STYLES[status], MARKS[status])
    const where = this.#where(line.outcomes)
    const room = this.#width - 13 - where.length
    const [first = '', ...rest] = wrap(line.title, room)
    const tail = where === '' ? '' : `${' '.repeat(Math.max(2, room - first.length + 2))}${this.#color('dim', where)}`
    this.#write(`  ${mark} ${this.#color('bold', line.rule.padEnd(5))} ${first}${tail}`)
    for (const more of rest) this.#write(`          ${more}`)
    // What was the same in both encodings is said once.
    const bad = line.outcomes.filter(({ status }) => status !== 'passed')
    const told = (outcome: Outcome): string => JSON.stringify([outcome.expected, outcome.seen, outcome.reason])
    const isSame = new Set(bad.map(told)).size === 1
    for (const outcome of isSame ? bad.slice(0, 1) : bad) {
      if (!isSame || (this.#encodings.length > 1 && bad.length < line.outcomes.length))
        this.#block('dim', 'in', outcome.encoding)
      if (outcome.status === 'skipped') this.#block('yellow', 'skipped', outcome.reason ?? '')
      else {
        this.#block('red', 'expected', outcome.expected ?? '')
        this.#block('red', 'saw', outcome.seen ?? '')
      }
    }
  }

  #list(style: Style, label: string, text: string): void {
    const [first = '', ...rest] = wrap(text, this.#width - 14)
    this.#write(`  ${this.#color(style, label)} ${first}`)
    for (const more of rest) this.#write(`${' '.repeat(12)}${more}`)
  }

  #block(style: Style, label: string, text: string): void {
    const [first = '', ...rest] = wrap(text, this.#width - 21)
    this.#write(`          ${this.#color(style, label.padEnd(9))}${first}`)
    for (const more of rest) this.#write(`${' '.repeat(19)}${more}`)
  }

  /** In which encodings it was made, where that is not said by there being one only. */
  #where(outcomes: readonly Outcome[]): string {
    return this.#encodings.length > 1 ? outcomes.map(({ encoding }) => encoding).join(' ') : ''
  }
}

/** What a server says of itself, in a few words. */
export function factsInWords(
  { isOpen, protocolVersion }: ServerFacts,
  encodings: readonly Encoding[],
): readonly string[] {
  return [`protocol ${protocolVersion}`, isOpen ? 'open to everyone' : 'asks for a token', encodings.join(' and ')]
}

/** The rules, each with the worst that became of its checks. */
export function summary(outcomes: readonly Outcome[]): {
  readonly held: readonly string[]
  readonly broken: readonly string[]
  readonly unseen: readonly string[]
} {
  const byRule = new Map<string, Outcome[]>()
  for (const outcome of outcomes) byRule.set(outcome.rule, [...(byRule.get(outcome.rule) ?? []), outcome])
  const having = (isWanted: (statuses: ReadonlySet<Outcome['status']>) => boolean): readonly string[] =>
    [...byRule].filter(([, made]) => isWanted(new Set(made.map(({ status }) => status)))).map(([rule]) => rule)
  return {
    held: having((statuses) => !statuses.has('failed') && statuses.has('passed')),
    broken: having((statuses) => statuses.has('failed')),
    unseen: having((statuses) => !statuses.has('failed') && !statuses.has('passed')),
  }
}

function worst(outcomes: readonly Outcome[]): Outcome['status'] {
  const has = (wanted: Outcome['status']): boolean => outcomes.some(({ status }) => status === wanted)
  return has('failed') ? 'failed' : has('passed') ? 'passed' : 'skipped'
}

/** Breaks a text into lines, at spaces where there are any. */
function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = []
  let rest = text
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width)
    const end = space > width / 2 ? space : width
    lines.push(rest.slice(0, end))
    rest = rest.slice(end).trimStart()
  }
  return [...lines, rest]
}
