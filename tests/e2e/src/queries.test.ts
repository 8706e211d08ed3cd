// The same question, answered by a client from what it holds and by the server from what it has.
import { createClient, type QuerySpec } from '@syncline/client'
import { createServer } from '@syncline/server'
import { expect, test } from 'vitest'
import { Random } from './random.ts'
import { until } from './until.ts'

interface Row {
  a?: number | string | null
  b?: number
  d?: { e: number }
}

const QUERIES = 150
const ROWS = 1_500

test('[QY1] to [QY9]: a client answers any query from local data as the server does, order, pages and fields included', async () => {
  const random = new Random(17)
  const below = (limit: number): number => random.below(limit)
  await using server = await started()
  const url = `ws://127.0.0.1:${server.port}/ws`
  const [writer, reader] = [createClient({ url }), createClient({ url })]
  try {
    const rows = writer.map<Row>('m')
    for (let i = 0; i < ROWS; i++) {
      rows.set(`k${i}`, {
        ...(below(5) === 0 ? {} : { a: [below(6), 'x', 'y', null][Math.min(below(12), 3)] ?? null }),
        ...(below(4) === 0 ? {} : { b: below(40) }),
        ...(below(3) === 0 ? { d: { e: below(4) } } : {}),
      })
    }
    const held = reader.map<Row>('m')
    await until(
      () => held.size === ROWS,
      () => `${held.size} rows at the reader`,
    )
    const scalar = (): number | string => (below(5) === 0 ? 'x' : below(40))
    const condition = (): unknown =>
      [
        scalar(),
        { $gte: below(40) },
        { $gt: below(20), $lte: 20 + below(20) },
        { $in: [scalar(), scalar(), scalar()] },
        { $nin: [scalar()] },
        { $ne: scalar() },
        { $exists: below(2) === 0 },
        { $contains: 'x' },
        { $not: { $lt: below(40) } },
      ][below(9)]
    const field = (): string => ['a', 'b', 'd.e', 'd'][below(4)] as string
    const where = (): object =>
      below(5) === 0
        ? { $or: [{ [field()]: condition() }, { $and: [{ [field()]: condition() }, { [field()]: condition() }] }] }
        : { [field()]: condition(), ...(below(2) === 0 ? { [field()]: condition() } : {}) }
    for (let i = 0; i < QUERIES; i++) {
      const spec = {
        ...(below(6) === 0 ? {} : { where: where() }),
        ...(below(3) === 0
          ? {}
          : { orderBy: Array.from({ length: 1 + below(2) }, () => [field(), below(2) === 0 ? 'asc' : 'desc']) }),
        ...(below(2) === 0 ? {} : { limit: 1 + below(60) }),
        ...(below(4) === 0 ? { select: ['b'] } : {}),
      } as unknown as QuerySpec<Row>
      const query = held.query(spec)
      const local = query.get()
      expect({ spec, rows: await query.once({ from: 'server' }) }).toEqual({ spec, rows: local.rows })
      if (local.nextCursor === undefined) continue
      const next = held.query({ ...spec, after: local.nextCursor })
      expect({ spec, rows: await next.once({ from: 'server' }) }).toEqual({ spec, rows: next.get().rows })
    }
  } finally {
    await Promise.all([writer.close(), reader.close()])
  }
}, 120_000)

async function started() {
  const server = createServer({
    mode: 'development',
    host: '127.0.0.1',
    auth: 'none',
    rateLimiting: { enabled: false },
    logLevel: 'error',
  })
  await server.ready()
  return Object.assign(server, { [Symbol.asyncDispose]: () => server.shutdown() })
}
