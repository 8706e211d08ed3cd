import { SynclineError, type ConflictEvent } from '@syncline/client'
import { add, change, db, remove, restore, todos, type Todo } from './data.ts'
import { find, setText } from './view/dom.ts'
import { ListView } from './view/list.ts'
import { NoticesView } from './view/notices.ts'
import { StatusView } from './view/status.ts'

const notices = new NoticesView()
const status = new StatusView()
/** What todos were called, for notices about those that are gone. */
const names = new Map<string, string>()
/** A text in quotes. The marks around it keep its direction, and what it says of directions, to itself. */
const quote = (text: unknown): string => `“\u2068${String(text)}\u2069”`
const nameOf = (key: string): string => {
  const name = db.maps.todos.get(key)?.text ?? names.get(key)
  return name === undefined ? 'a todo' : quote(name)
}

const list = new ListView({
  change: (key, fields) => attempt(() => change(key, fields)),
  remove(key) {
    attempt(() => {
      const write = remove(key)
      notices.show({
        id: 'deleted',
        kind: 'deleted',
        text: `${nameOf(key)} is deleted.`,
        actions: [{ label: 'Undo', run: () => attempt(() => write.undo()) }],
      })
    })
  },
  lostDraft(draft) {
    notices.show({
      id: `draft:${draft}`,
      kind: 'conflict',
      text: `Somebody deleted the todo in which you were writing ${quote(draft)}.`,
      actions: [{ label: 'Keep it as a new todo', run: () => attempt(() => add(draft)) }],
    })
  },
})

const form = find('#new')
const input = find('#new-text') as HTMLInputElement
form.addEventListener('submit', (event) => {
  event.preventDefault()
  const text = input.value.trim()
  if (text !== '' && attempt(() => add(text))) input.value = ''
  input.focus()
})

/** Runs what the user asked for, and says so where it is not possible. */
function attempt(run: () => unknown): boolean {
  try {
    run()
    return true
  } catch (error) {
    if (!(error instanceof SynclineError)) throw error
    notices.show({ id: `error:${error.code}`, kind: 'error', text: error.message })
    return false
  }
}

todos.subscribe(
  (state) => {
    for (const { key, value } of state.rows) names.set(key, value.text)
    list.show(state)
  },
  { immediate: true },
)

let isOpen = false
void db.ready.then(() => {
  isOpen = true
  status.show(db.status.get(), isOpen)
})
let spokenConnection = ''
db.status.subscribe(
  (now) => {
    status.show(now, isOpen)
    const spoken = now.connection === 'connecting' ? spokenConnection : now.connection
    if (spoken !== spokenConnection && spokenConnection !== '') notices.say(`The server is ${spoken}.`)
    spokenConnection = spoken
  },
  { immediate: true },
)

// Refused writes survive a reload, so they are shown from the list of them and not from the event.
db.pending.subscribe(
  (writes) => {
    const refused = writes.filter((write) => write.status === 'rejected')
    const ids = new Set(refused.map(({ id }) => `rejected:${id}`))
    notices.keepOnly('rejected', ids)
    offerToGiveUp(refused.length)
    for (const { id, op, target, lastError } of refused) {
      if (notices.has(`rejected:${id}`)) continue
      if (op === 'REMOVE') notices.remove('deleted')
      const what = op === 'REMOVE' ? 'Deleting' : op === 'PUT' ? 'Adding' : 'Changing'
      notices.show({
        id: `rejected:${id}`,
        kind: 'rejected',
        text: `${what} ${nameOf(target.slice(target.indexOf('/') + 1))} was refused. ${lastError?.message ?? ''}`.trim(),
        dismissLabel: 'Give the change up',
        onDismiss: () => db.pending.discard(id),
      })
    }
  },
  { immediate: true },
)

/** One button for several refusals: giving up each by itself is no way through fifty. */
function offerToGiveUp(count: number): void {
  const offer = find('#refused')
  const button = find('button', offer)
  const hadFocus = document.activeElement === button
  offer.hidden = count < 2
  setText(button, `Give all ${count} changes up`)
  if (hadFocus && offer.hidden) input.focus()
}
find('#refused button').addEventListener('click', () => {
  for (const { id, status } of db.pending.get()) if (status === 'rejected') db.pending.discard(id)
})

db.maps.todos.onConflict((conflict) => {
  const { key, local, winner, fields } = conflict
  notices.show({
    id: `conflict:${key}`,
    kind: 'conflict',
    text: conflictWords(conflict),
    actions:
      local === undefined
        ? []
        : winner === undefined
          ? [{ label: 'Bring it back', run: () => attempt(() => restore(key, local)) }]
          : [{ label: 'Use mine', run: () => attempt(() => change(key, pick(local, fields))) }],
  })
})

function conflictWords({ key, local, winner, fields }: ConflictEvent<Todo>): string {
  const name = nameOf(key)
  if (winner === undefined) return `Somebody else deleted ${name} while you changed it.`
  if (local === undefined) return `Somebody else changed ${name} while you deleted it, so it is still here.`
  const both = fields.map((field) => `yours was ${inWords(local[field])}, now it is ${inWords(winner[field])}`)
  return `Somebody else changed the ${fields.join(' and the ')} of ${name} later than you: ${both.join('; ')}.`
}

const inWords = (value: Todo[keyof Todo] | undefined): string =>
  typeof value === 'boolean' ? (value ? 'done' : 'open') : quote(value ?? '')

const pick = (todo: Todo, fields: readonly (keyof Todo)[]): Partial<Todo> =>
  Object.fromEntries(fields.map((field) => [field, todo[field]]))

if ('serviceWorker' in navigator) {
  navigator.serviceWorker.register('/sw.js').catch((error: unknown) => {
    console.warn('Without its service worker this page does not open while the server is down:', error)
  })
}
// Asks the browser not to drop what is kept here when space is short.
void navigator.storage?.persist?.()
