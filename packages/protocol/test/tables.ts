import { CLOSE_CODES, ERRORS } from '../src/errors.ts'
import { LIMITS } from '../src/limits.ts'

/** The error table without its sentences, which may improve. */
export const errorTable = (): readonly { readonly rules: string }[] =>
  Object.entries(ERRORS).map(([errorCode, { status, retryable }]) => ({ rules: 'ER1', errorCode, status, retryable }))

/** Why a server closes a connection. */
export const closeCodes = (): readonly { readonly rules: string }[] =>
  Object.entries(CLOSE_CODES).map(([name, code]) => ({ rules: 'CL1', name, code }))

/** The table of limits. */
export const limitTable = (): readonly { readonly rules: string }[] =>
  Object.entries(LIMITS).map(([name, max]) => ({ rules: 'LI1', name, max }))
