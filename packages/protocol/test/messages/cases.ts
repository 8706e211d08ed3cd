import type { Message } from '../../src/message.ts'

/** What a feature gives to the vectors: its messages, each with the rules of SPEC.md that it shows. */
export interface MessageCases {
  /** Messages in the one shape that they are sent in. Each type has at least one. */
  readonly messages: readonly (readonly [rules: string, message: Message])[]
  /** Messages of clients in other shapes that mean the same as `means`, or as what is read of them. */
  readonly accepted?: readonly (readonly [name: string, rules: string, message: unknown, means?: Message])[]
  /** Messages that no server takes, or whose op it refuses. */
  readonly refused?: readonly (readonly [name: string, rules: string, message: unknown])[]
}
