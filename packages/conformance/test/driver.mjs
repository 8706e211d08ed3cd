// Drives the client of this repository for the kit: reads commands, one line of JSON each, and answers each by a line.
import { createInterface } from 'node:readline'
import { createClient } from '@syncline/client'

const url = process.argv.at(-1)

// With FAULT the client is made to break a rule, by what it sends.
const { FAULT: fault } = process.env
const faults = {
  'stamps anew what it sends again': (message) => {
    for (const { record } of message.payload?.ops ?? []) record.timestamp.counter += ++sent
    return message
  },
  'never sends PING': (message) => (message.type === 'PING' ? undefined : message),
  'keeps a cursor that was reset': (message) =>
    message.type === 'SYNC_INIT' && message.cursor === null && sent++ > 0 ? { ...message, cursor: 'c1' } : message,
  'follows from null always': (message) => (message.type === 'SYNC_INIT' ? { ...message, cursor: null } : message),
  'never pushes': (message) => (message.type === 'SYNC_PUSH' ? undefined : message),
  'sends PUT for PATCH': (message) => {
    for (const op of message.payload?.ops ?? []) op.opType = 'PUT'
    return message
  },
  'sends nothing again': (message) => (message.payload?.ops === undefined || sent++ === 0 ? message : undefined),
}
let sent = 0
if (fault !== undefined) {
  globalThis.WebSocket = class extends WebSocket {
    send(text) {
      const message = faults[fault](JSON.parse(text))
      if (message !== undefined) super.send(JSON.stringify(message))
    }
  }
}
let token = null
const client = createClient({ url, auth: () => token })
client.disconnect()
const rejected = []
client.on('rejected', ({ error }) => rejected.push(error.code))

const commands = {
  connect(command) {
    token = command.token ?? null
    client.connect()
  },
  write: ({ map, key, value }) => void client.map(map).set(key, value),
  patch: ({ map, key, set = {}, unset = [] }) =>
    void client.map(map).update(key, (draft) => {
      Object.assign(draft, set)
      for (const name of unset) delete draft[name]
    }),
  remove: ({ map, key }) => void client.map(map).delete(key),
  follow: ({ map }) =>
    void client
      .map(map)
      .query({})
      .subscribe(() => {}),
  read: ({ map, key }) => ({ value: client.map(map).get(key) }),
  pending: () => ({ count: client.status.get().pending }),
  rejected: () => ({ codes: rejected }),
  exit: () => process.exit(0),
}

await client.ready
console.log(JSON.stringify({ ready: true }))
createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, do: name, ...command } = JSON.parse(line)
  try {
    const run = commands[name]
    console.log(
      JSON.stringify(run === undefined ? { id, ok: false, error: 'unsupported' } : { id, ok: true, ...run(command) }),
    )
  } catch (error) {
    console.log(JSON.stringify({ id, ok: false, error: String(error) }))
  }
})
