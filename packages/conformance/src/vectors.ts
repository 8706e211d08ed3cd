import { createRequire } from 'node:module'

const load = createRequire(import.meta.url)

/** A case of the vectors that are published with the protocol. */
// oxlint-disable-next-line typescript/no-explicit-any -- each file has members of its own, which its README names
export type Vector = Readonly<Record<string, any>>

/** The cases of one file of the vectors that are published with the protocol. */
export function vectorsOf(name: string): readonly Vector[] {
  return load(`@syncline/protocol/vectors/${name}.json`) as readonly Vector[]
}

/** The cases of all files in one folder of the vectors, such as `refused-messages`. */
export function vectorsIn(folder: string): readonly Vector[] {
  const names = vectorsOf('index').map((file) => file['name'] as string)
  return names.filter((name) => name.startsWith(`${folder}/`)).flatMap(vectorsOf)
}
