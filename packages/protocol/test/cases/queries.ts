import type { PredicateNode, QuerySpec, Value, Where } from '@syncline/core'

const bytes = (...items: readonly number[]): Uint8Array => Uint8Array.of(...items)
const todo: Value = {
  text: 'Buy milk',
  done: false,
  n: 5,
  due: null,
  tags: ['home', 'shop', [1]],
  owner: { name: 'Ada', age: 36, address: { city: 'Rīga' } },
  'a.b': 1,
  raw: bytes(1, 2),
  empty: '',
}

const operators: readonly (readonly [rules: string, where: Where])[] = [
  ['QY1', {}],
  ['QY3 QY4', { text: 'Buy milk' }],
  ['QY4', { text: 'buy milk' }],
  ['QY3', { text: 'Buy milk', done: false }],
  ['QY3', { text: 'Buy milk', done: true }],
  ['QY5', { due: null }],
  ['QY5', { missing: null }],
  ['QY4', { tags: ['home', 'shop', [1]] }],
  ['QY4', { tags: ['shop', 'home', [1]] }],
  ['QY4', { owner: { age: 36, name: 'Ada', address: { city: 'Rīga' } } }],
  ['QY4', { owner: { age: 36 } }],
  ['QY4', { raw: bytes(1, 2) }],
  ['QY4', { n: '5' }],
  ['QY6', { n: { $eq: 5 } }],
  ['QY6', { n: { $eq: 6 } }],
  ['QY6', { n: { $ne: 5 } }],
  ['QY6', { n: { $ne: 6 } }],
  ['QY6', { missing: { $ne: 5 } }],
  ['QY6', { n: { $neq: 6 } }],
  ['QY6', { n: { $gt: 4 } }],
  ['QY6', { n: { $gt: 5 } }],
  ['QY6', { n: { $gte: 5 } }],
  ['QY6', { n: { $gte: 5.5 } }],
  ['QY6', { n: { $lt: 5 } }],
  ['QY6', { n: { $lt: 6 } }],
  ['QY6', { n: { $lte: 5 } }],
  ['QY6', { n: { $gt: 1, $lt: 10 } }],
  ['QY6', { n: { $gt: 1, $lt: 5 } }],
  ['QY5', { n: { $gt: 'a' } }],
  ['QY5', { text: { $gt: 'Buy' } }],
  ['QY5', { text: { $lt: 'a' } }],
  ['QY5', { done: { $lt: true } }],
  ['QY5', { raw: { $gt: bytes(1) } }],
  ['QY5', { due: { $lt: 1 } }],
  ['QY5', { missing: { $lte: 1 } }],
  ['QY6', { n: { $in: [1, 5] } }],
  ['QY6', { n: { $in: [] } }],
  ['QY6', { due: { $in: [null] } }],
  ['QY6', { missing: { $in: [null] } }],
  ['QY6', { owner: { $in: [{ address: { city: 'Rīga' }, name: 'Ada', age: 36 }] } }],
  ['QY6', { n: { $nin: [1, 5] } }],
  ['QY6', { missing: { $nin: [1] } }],
  ['QY6', { due: { $exists: true } }],
  ['QY6', { missing: { $exists: true } }],
  ['QY6', { missing: { $exists: false } }],
  ['QY6', { text: { $contains: 'milk' } }],
  ['QY6', { text: { $contains: 'Milk' } }],
  ['QY6', { empty: { $contains: '' } }],
  ['QY6', { tags: { $contains: 'shop' } }],
  ['QY6', { tags: { $contains: [1] } }],
  ['QY6', { tags: { $contains: 'sho' } }],
  ['QY6', { n: { $contains: 5 } }],
  ['QY2', { 'owner.name': 'Ada' }],
  ['QY2', { 'owner.address.city': 'Rīga' }],
  ['QY2', { 'a.b': 1 }],
  ['QY2', { 'tags.0': 'home' }],
  ['QY2', { 'owner.name.length': 3 }],
  ['QY2', { 'owner.toString': { $exists: true } }],
  ['QY3', { $and: [{ n: 5 }, { done: false }] }],
  ['QY3', { $and: [] }],
  ['QY3', { $or: [{ n: 6 }, { done: false }] }],
  ['QY3', { $or: [] }],
  ['QY3', { $not: { n: 5 } }],
  ['QY3', { $not: { n: 6 } }],
  ['QY4', { n: { $or: [{ $lt: 1 }, { $gt: 4 }] } }],
  ['QY4', { n: { $and: [{ $gt: 1 }, { $lt: 4 }] } }],
  ['QY4', { n: { $not: { $gt: 4 } } }],
  ['QY4', { n: { $or: [6, 5] } }],
]

/** Conditions, and a value that meets them or not. */
export const wheres: readonly (readonly [rules: string, where: Where, value: Value])[] = [
  ...operators.map(([rules, where]) => [rules, where, todo] as const),
  ['QY1', {}, 5],
  ['QY1', {}, 'text'],
  ['QY1', { n: { $exists: false } }, 5],
  ['QY1', { n: { $ne: 1 } }, [1]],
  ['QY2', { 'a.b': 2 }, { 'a.b': 1, a: { b: 2 } }],
  ['QY2', { 'a.b.c': 3 }, { a: { 'b.c': 3 } }],
  ['QY2', { 'a.b.c': 3 }, { 'a.b': { c: 3 } }],
  ['QY5', { n: 0 }, { n: 0 }],
  ['QY5', { text: { $gt: '\uff5e' } }, { text: '😀' }],
]

const nodes: readonly (readonly [rules: string, predicate: PredicateNode])[] = [
  ['QY7', { op: 'eq', attribute: 'n', value: 5 }],
  ['QY7', { op: 'neq', attribute: 'n', value: 5 }],
  ['QY7', { op: 'neq', attribute: 'missing', value: 5 }],
  ['QY7', { op: 'gt', attribute: 'n', value: 4 }],
  ['QY7', { op: 'gte', attribute: 'n', value: 6 }],
  ['QY7', { op: 'lt', attribute: 'n', value: 6 }],
  ['QY7', { op: 'lte', attribute: 'n', value: 4 }],
  ['QY7', { op: 'in', attribute: 'n', value: [5] }],
  ['QY7', { op: 'in', attribute: 'n', value: [6] }],
  ['QY7', { op: 'contains', attribute: 'tags', value: 'home' }],
  ['QY7', { op: 'between', attribute: 'n', value: [5, 5] }],
  ['QY7', { op: 'between', attribute: 'n', value: [6, 4] }],
  ['QY7', { op: 'isNull', attribute: 'due' }],
  ['QY7', { op: 'isNull', attribute: 'missing' }],
  ['QY7', { op: 'isNull', attribute: 'n' }],
  ['QY7', { op: 'isNotNull', attribute: 'n' }],
  ['QY7', { op: 'isNotNull', attribute: 'due' }],
  ['QY7', { op: 'like', attribute: 'text', value: 'buy%' }],
  ['QY7', { op: 'like', attribute: 'text', value: '%MILK' }],
  ['QY7', { op: 'like', attribute: 'text', value: 'buy milk' }],
  ['QY7', { op: 'like', attribute: 'text', value: 'buy' }],
  ['QY7', { op: 'like', attribute: 'text', value: 'b_y m%k' }],
  ['QY7', { op: 'like', attribute: 'text', value: '%' }],
  ['QY7', { op: 'like', attribute: 'text', value: '' }],
  ['QY7', { op: 'like', attribute: 'n', value: '5' }],
  ['QY7', { op: 'like', attribute: 'owner.address.city', value: 'RĪGA' }],
  ['QY7', { op: 'and', children: [] }],
  ['QY7', { op: 'or', children: [] }],
  ['QY7', { op: 'not', children: [] }],
  ['QY7', { op: 'not', children: [{ op: 'eq', attribute: 'n', value: 5 }] }],
  [
    'QY7',
    {
      op: 'and',
      children: [
        { op: 'eq', attribute: 'n', value: 5 },
        {
          op: 'or',
          children: [
            { op: 'isNull', attribute: 'n' },
            { op: 'eq', attribute: 'done', value: false },
          ],
        },
      ],
    },
  ],
]

/** Predicates, and a value that meets them or not. */
export const predicates: readonly (readonly [rules: string, predicate: PredicateNode, value: Value])[] = [
  ...nodes.map(([rules, predicate]) => [rules, predicate, todo] as const),
  ['QY7', { op: 'like', attribute: 'a', value: '_' }, { a: '😀' }],
  ['QY7', { op: 'like', attribute: 'a', value: 'a%b%c' }, { a: 'AxxBxxC' }],
  ['QY7', { op: 'like', attribute: 'a', value: 'a.c' }, { a: 'abc' }],
  ['QY7', { op: 'like', attribute: 'a', value: 'a%' }, { a: 'a\nb' }],
  ['QY1', { op: 'and', children: [] }, 5],
]

const deep = (levels: number): Where => {
  let where: Where = { n: 1 }
  for (let i = 1; i < levels; i++) where = { $not: where }
  return where
}

/** Queries whose conditions are refused. */
export const refusedQueries: readonly (readonly [name: string, rules: string, query: QuerySpec])[] = [
  ['an unknown operator', 'QY1 QY6', { where: { n: { $near: 5 } } }],
  ['an unknown name at the top', 'QY3', { where: { $nor: [] } }],
  ['an operator beside a name', 'QY4', { where: { n: { $gt: 1, x: 2 } } }],
  ['$in without a list', 'QY6', { where: { n: { $in: 5 } } }],
  ['$exists of a number', 'QY6', { where: { n: { $exists: 1 } } }],
  ['$gt of null', 'QY5', { where: { n: { $gt: null } } }],
  ['$lt of a list', 'QY5', { where: { n: { $lt: [1] } } }],
  ['$and that is no list', 'QY3', { where: { $and: { n: 1 } } }],
  ['seventeen levels', 'QY11', { where: deep(17) }],
  ['a path of 33 parts', 'QY2', { where: { [Array.from({ length: 33 }, () => 'a').join('.')]: 1 } }],
  ['257 conditions', 'QY11', { where: { $or: Array.from({ length: 128 }, (_, n) => ({ n })) } }],
  ['a predicate without an op', 'QY7', { predicate: {} as PredicateNode }],
  ['an unknown op', 'QY7', { predicate: { op: 'near', attribute: 'n', value: 5 } }],
  ['a comparison without its attribute', 'QY7', { predicate: { op: 'eq', value: 5 } }],
  [
    'not of two',
    'QY7',
    {
      predicate: {
        op: 'not',
        children: [
          { op: 'and', children: [] },
          { op: 'and', children: [] },
        ],
      },
    },
  ],
  ['between of one', 'QY7', { predicate: { op: 'between', attribute: 'n', value: [1] } }],
  ['like of a number', 'QY7', { predicate: { op: 'like', attribute: 'n', value: 5 } }],
  ['like of 257 code points', 'QY7', { predicate: { op: 'like', attribute: 'n', value: 'x'.repeat(257) } }],
]

type Rows = readonly { readonly key: string; readonly value: Value }[]
const rows: Rows = [
  { key: 'b', value: { n: 2, text: 'B' } },
  { key: 'a', value: { n: 2, text: 'a' } },
  { key: 'c', value: { n: null, text: 'ä' } },
  { key: 'd', value: { text: '😀' } },
  { key: 'e', value: { n: '10', text: '\uff5e' } },
  { key: 'f', value: { n: true } },
  { key: 'g', value: { n: 10, owner: { name: 'Z' } } },
  { key: 'h', value: { n: bytes(1), owner: { name: 'A' } } },
  { key: 'i', value: { n: [1] } },
  { key: 'j', value: { n: { a: 1 } } },
  { key: 'k', value: 7 },
]

/** Rows, and the order that a query gives them. */
export const sorts: readonly (readonly [name: string, rules: string, sort: QuerySpec['sort'], rows: Rows])[] = [
  ['by key alone', 'QY9', {}, rows],
  ['values of all types', 'QY8 QY9', { n: 'asc' }, rows],
  ['the reverse, ties by key ascending', 'QY9', { n: 'desc' }, rows],
  ['texts by code unit', 'QY8', { text: 'asc' }, rows],
  ['by two fields', 'QY9', { n: 'desc', text: 'asc' }, rows],
  ['by a nested field', 'QY2 QY9', { 'owner.name': 'asc' }, rows],
  ['by a nested field, the reverse', 'QY2 QY9', { 'owner.name': 'desc' }, rows],
  ['texts, the reverse', 'QY8 QY9', { text: 'desc' }, rows],
  ['by two fields, the first of which ties', 'QY9', { owner: 'asc', text: 'desc' }, rows],
  ['by a field that none has', 'QY8 QY9', { missing: 'desc' }, rows],
  [
    'by an empty name',
    'QY2 QY9',
    { '': 'asc' },
    [
      { key: 'a', value: { '': 2 } },
      { key: 'b', value: { '': 1 } },
    ],
  ],
]
