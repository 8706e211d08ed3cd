import type { QuerySpec } from '@syncline/core'
import { code } from '../../code.ts'
import type { LateDefinition } from '../../late.ts'
import type { WaitOptions } from '../../readable.ts'
import { promised } from '../../stand-in.ts'
import type { Row } from './state.ts'

/** A query that the server is to answer. */
export interface Question extends WaitOptions {
  readonly query: QuerySpec
  /** The place where the rows begin. */
  readonly after: string | undefined
  readonly select: readonly string[] | undefined
}

/** Queries that the server answers once, whose code is loaded with the first one. Live queries need no messages. */
export const questions: LateDefinition<Question, Promise<readonly Row<unknown>[]>> = {
  code: code(() => import('./questions.ts')),
  standIn: promised,
}
