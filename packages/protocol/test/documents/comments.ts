import { readFileSync } from 'node:fs'

/** What the comments of the interfaces in `src/messages` say of a type of message. */
export interface TypeComments {
  readonly summary: string
  /** Of members, by name; those of interfaces that the message is made of included. */
  readonly members: Readonly<Record<string, string>>
}

interface Declared {
  readonly comment: string
  readonly body: string
}

const declaration =
  /(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?export (?:interface|type) (\w+)[\s\S]*?(?=\n(?:\/\*\*|export|\n)|$)/g
const plain = (comment: string): string =>
  comment
    .replaceAll(/^\s*\* ?/gm, '')
    .replaceAll(/\s+/g, ' ')
    .trim()

/** Reads the comments of a feature's messages, so that documents say what the code says. */
export function commentsOf(features: readonly string[]): ReadonlyMap<string, TypeComments> {
  const declared = new Map<string, Declared>()
  for (const feature of features) {
    const source = readFileSync(new URL(`../../src/messages/${feature}.ts`, import.meta.url), 'utf8')
    for (const [text, comment = '', name = ''] of source.matchAll(declaration)) {
      declared.set(name, { comment: plain(comment), body: text })
    }
  }
  const comments = new Map<string, TypeComments>()
  for (const { comment, body } of declared.values()) {
    const type = /readonly type: '([A-Z_]+)'/.exec(body)?.[1]
    if (type === undefined) continue
    comments.set(type, {
      summary: comment.replace(/^[CS]→[CS]\.\s*/, ''),
      members: membersOf(body, declared, new Set()),
    })
  }
  return comments
}

/** The comments of members, nearest first: those of the interface itself, then of those that it names. */
function membersOf(
  body: string,
  declared: ReadonlyMap<string, Declared>,
  seen: Set<string>,
): Readonly<Record<string, string>> {
  const own: Record<string, string> = {}
  for (const [, comment = '', name = ''] of body.matchAll(/\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*readonly (\w+)\??:/g)) {
    own[name] = plain(comment)
  }
  const named = [...body.matchAll(/\b[A-Z]\w+\b/g)].flatMap(([name]) => {
    const found = declared.get(name)
    if (found === undefined || seen.has(name)) return []
    seen.add(name)
    return [membersOf(found.body, declared, seen)]
  })
  return Object.assign({}, ...named.toReversed(), own) as Readonly<Record<string, string>>
}
