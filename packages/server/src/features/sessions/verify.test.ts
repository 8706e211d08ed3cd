import { createHmac } from 'node:crypto'
import { array, assert, constant, constantFrom, integer, oneof, property, record, string } from 'fast-check'
import { jwtVerify } from 'jose'
import { describe, expect, test } from 'vitest'
import { SECRET, makeToken } from '../../testing/harness.ts'
import { hs256Verifier } from './verify.ts'

const NOW_MS = 1_800_000_000_500
const NOW = 1_800_000_000
const verify = hs256Verifier(SECRET, () => NOW_MS)
const key = new TextEncoder().encode(SECRET)

/** Whether a general library accepts the token. */
async function isAccepted(token: string): Promise<boolean> {
  try {
    await jwtVerify(token, key, { algorithms: ['HS256'], currentDate: new Date(NOW_MS) })
    return true
  } catch {
    return false
  }
}

const base64url = (text: string): string => Buffer.from(text).toString('base64url')

/** A genuine signature over any two parts. */
function signed(header: string, claims: string): string {
  return `${header}.${claims}.${createHmac('sha256', SECRET).update(`${header}.${claims}`).digest('base64url')}`
}

const HEADER = base64url('{"alg":"HS256"}')

describe('[SE4] a token', () => {
  test('names who speaks, with which roles and until when', () => {
    expect(verify(makeToken({ sub: 'ann', exp: NOW + 1, roles: ['A', 'B'], iat: NOW, nbf: NOW, aud: 'x' }))).toEqual({
      principal: { userId: 'ann', roles: ['A', 'B'], expiresAtMs: (NOW + 1) * 1000 },
    })
    expect(verify(makeToken({ sub: 'ann' }))).toEqual({ principal: { userId: 'ann', roles: ['USER'] } })
  })

  test.each([
    ['no header', signed('', base64url('{"sub":"a"}')), 'jwt malformed'],
    ['a header that is no object', signed(base64url('"HS256"'), base64url('{"sub":"a"}')), 'jwt malformed'],
    ['a list as header', signed(base64url('[]'), base64url('{"sub":"a"}')), 'jwt malformed'],
    ['a header without alg', signed(base64url('{}'), base64url('{"sub":"a"}')), 'jwt malformed'],
    ['a list as alg', signed(base64url('{"alg":["HS256"]}'), base64url('{"sub":"a"}')), 'jwt malformed'],
    ['alg in small letters', signed(base64url('{"alg":"hs256"}'), base64url('{"sub":"a"}')), 'invalid algorithm'],
    ['alg none', `${base64url('{"alg":"none"}')}.${base64url('{"sub":"a"}')}.`, 'invalid algorithm'],
    ['no signature', `${HEADER}.${base64url('{"sub":"a"}')}.`, 'invalid signature'],
    ['two parts', `${HEADER}.${base64url('{"sub":"a"}')}`, 'jwt malformed'],
    ['four parts', `${signed(HEADER, base64url('{"sub":"a"}'))}.x`, 'jwt malformed'],
    ['five parts, encrypted', 'a.b.c.d.e', 'jwt malformed'],
    ['claims that are no JSON', signed(HEADER, base64url('{')), 'jwt malformed'],
    ['a list as claims', signed(HEADER, base64url('[]')), 'jwt malformed'],
    ['null as claims', signed(HEADER, base64url('null')), 'jwt malformed'],
    ['no claims', signed(HEADER, ''), 'jwt malformed'],
    ['padding', signed(`${HEADER}=`, base64url('{"sub":"a"}')), 'jwt malformed'],
    ['padding in the claims', signed(HEADER, `${base64url('{"sub":"ab"}')}=`), 'jwt malformed'],
    ['a space', signed(HEADER, ` ${base64url('{"sub":"a"}')}`), 'jwt malformed'],
    ['letters of plain base64', signed(HEADER, '+/+/'), 'jwt malformed'],
    ['a critical extension', signed(base64url('{"alg":"HS256","crit":["b64"],"b64":false}'), 'x'), 'jwt malformed'],
    ['a text as time of issue', makeToken({ sub: 'a', iat: 'now' }), 'jwt not active'],
    ['a text as first moment', makeToken({ sub: 'a', nbf: 'now' }), 'jwt not active'],
    ['null as last moment', makeToken({ sub: 'a', exp: null }), 'jwt not active'],
    ['a last moment that is now', makeToken({ sub: 'a', exp: NOW }), 'jwt expired'],
    ['a first moment to come', makeToken({ sub: 'a', nbf: NOW + 1 }), 'jwt not active'],
    ['a number as role', makeToken({ sub: 'a', roles: ['USER', 7] }), 'jwt roles malformed'],
    ['a subject of 257 letters', makeToken({ sub: 'a'.repeat(257) }), 'jwt subject missing'],
  ])('with %s is refused', (_, token, refusal) => {
    expect(verify(token)).toEqual({ refusal })
  })

  test('has one spelling: its last letter, whose low bits mean nothing, may be no other', () => {
    const token = makeToken({ sub: 'ann' })
    for (const letter of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \u0141') {
      const other = token.slice(0, -1) + letter
      expect({ letter, isAccepted: 'principal' in verify(other) }).toEqual({ letter, isAccepted: other === token })
    }
  })

  test('is accepted only where a general library accepts it, whatever is changed in it', async () => {
    const part = oneof(
      record(
        {
          alg: constantFrom<unknown>('HS256', 'HS256', 'HS256', 'HS384', 'none', 7),
          typ: constant('JWT'),
          crit: constantFrom<unknown>([], ['exp']),
          sub: constantFrom<unknown>('ann', 7),
          exp: constantFrom<unknown>(NOW - 1, NOW, NOW + 1, '9'),
          nbf: constantFrom<unknown>(NOW - 1, NOW, NOW + 1, '9'),
          iat: constantFrom<unknown>(NOW, null),
        },
        { requiredKeys: [] },
      ).map((value) => base64url(JSON.stringify(value))),
      constant(HEADER),
      constant(HEADER),
      string(),
    )
    const edits = array(record({ at: integer({ min: 0, max: 200 }), letter: constantFrom('', 'A', '.', '=', 'é') }), {
      maxLength: 1,
    })
    const tokens: string[] = []
    assert(
      property(part, part, edits, (header, claims, changes) => {
        let token = signed(header, claims)
        for (const { at, letter } of changes) token = token.slice(0, at) + letter + token.slice(at + 1)
        tokens.push(token)
      }),
      { numRuns: 5_000 },
    )
    let accepted = 0
    for (const token of tokens) {
      if (!('principal' in verify(token))) continue
      accepted++
      expect({ token, isAccepted: await isAccepted(token) }).toEqual({ token, isAccepted: true })
    }
    expect(accepted).toBeGreaterThan(2)
  })
})
