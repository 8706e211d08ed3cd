import { createClient, defineContract, indexedDB, map } from '@syncline/client'
import * as v from 'valibot'
import { token } from './token.ts'

const todo = v.object({
  text: v.pipe(v.string(), v.trim(), v.nonEmpty(), v.maxLength(500)),
  note: v.optional(v.string(), ''),
  priority: v.optional(v.picklist(['low', 'normal', 'high']), 'normal'),
  done: v.optional(v.boolean(), false),
  createdAt: v.number(),
})
export type Todo = v.InferOutput<typeof todo>

const contract = defineContract({ maps: { todos: map({ schema: todo }) } })
export const db = createClient({ contract, storage: indexedDB('syncline-todo'), auth: token })
export const todos = db.maps.todos.query({ orderBy: [['createdAt', 'asc']] })

// The server acknowledges only what is on its disk: that is what "on the server" means on the page.
const onDisk = { concern: 'persisted' } as const
export const add = (text: string, key: string = crypto.randomUUID()) =>
  db.maps.todos.set(key, { text, createdAt: Date.now() }, onDisk)
export const change = (key: string, fields: Partial<Todo>) =>
  db.maps.todos.update(key, (draft) => void Object.assign(draft, fields), onDisk)
export const restore = (key: string, value: Todo) => db.maps.todos.set(key, value, onDisk)
export const remove = (key: string) => db.maps.todos.delete(key, onDisk)
