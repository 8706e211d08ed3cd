import { ERRORS } from '@syncline/protocol/codec'
import { expect, test } from 'vitest'
import { SynclineError, type ErrorCode } from './errors.ts'

test('an error is retryable where the protocol’s table says so', () => {
  for (const [code, { retryable }] of Object.entries(ERRORS)) {
    expect([code, new SynclineError(code as ErrorCode).retryable]).toEqual([code, retryable])
  }
  expect(new SynclineError('CLOSED').retryable).toBe(false)
})
