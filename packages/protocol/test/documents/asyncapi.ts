import { PROTOCOL_VERSION, SUBPROTOCOLS } from '../../src/version.ts'
import type { Entry, MessageEntry } from './documents.ts'

const schemaFormat = 'application/schema+json;version=draft-2020-12'

/** The AsyncAPI 3 document of a server: what it receives, and what it sends. */
export function asyncApi(entries: readonly MessageEntry[], bodies: readonly Entry[]): object {
  const inChannel = (type: string): object => ({ $ref: `#/channels/connection/messages/${type}` })
  const received = entries.filter(({ from }) => from === 'client')
  const answers = new Set(received.flatMap(({ replies }) => replies))
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Syncline',
      version: `${PROTOCOL_VERSION}.0.0`,
      description:
        'What a Syncline server receives and sends over a WebSocket, and by POST /sync. The rules are in SPEC.md, the fields in MESSAGES.md.',
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    defaultContentType: 'application/json',
    servers: {
      local: { host: 'localhost:8080', protocol: 'ws', description: 'A server of your own.' },
      http: { host: 'localhost:8080', protocol: 'http', description: 'The same server.' },
    },
    channels: {
      connection: {
        address: '/ws',
        title: 'One connection',
        servers: [{ $ref: '#/servers/local' }],
        description: `A WebSocket. The subprotocols ${Object.values(SUBPROTOCOLS).join(' and ')} fix its encoding; without one the server answers in the encoding of the client's latest frame.`,
        messages: Object.fromEntries(entries.map(({ type }) => [type, { $ref: `#/components/messages/${type}` }])),
        bindings: { ws: { method: 'GET', bindingVersion: '0.1.0' } },
      },
      sync: {
        address: '/sync',
        title: 'One exchange',
        servers: [{ $ref: '#/servers/http' }],
        description: 'A request of HTTP and its reply, in JSON or in MessagePack (application/x-msgpack).',
        messages: Object.fromEntries(bodies.map(({ type }) => [type, { $ref: `#/components/messages/${type}` }])),
      },
    },
    operations: Object.fromEntries([
      [
        'onHttpSyncRequest',
        {
          action: 'receive',
          channel: { $ref: '#/channels/sync' },
          messages: [{ $ref: '#/channels/sync/messages/HttpSyncRequest' }],
          bindings: { http: { method: 'POST', bindingVersion: '0.3.0' } },
          reply: {
            channel: { $ref: '#/channels/sync' },
            messages: [{ $ref: '#/channels/sync/messages/HttpSyncResponse' }],
          },
        },
      ],
      ...received.map(({ type, summary, replies }) => [
        `on${type}`,
        {
          action: 'receive',
          channel: { $ref: '#/channels/connection' },
          ...(summary === '' ? {} : { summary }),
          messages: [inChannel(type)],
          reply: { channel: { $ref: '#/channels/connection' }, messages: [...replies, 'ERROR'].map(inChannel) },
        },
      ]),
      ...entries
        .filter(({ from, type }) => from === 'server' && !answers.has(type) && type !== 'ERROR')
        .map(({ type, summary }) => [
          `send${type}`,
          { action: 'send', channel: { $ref: '#/channels/connection' }, summary, messages: [inChannel(type)] },
        ]),
    ]),
    components: {
      messages: Object.fromEntries(
        [...entries, ...bodies.map((body) => ({ ...body, feature: 'http-sync' }))].map((entry) => {
          const { type, summary, feature, examples, schema } = entry
          const { $schema: _, $defs: __, ...own } = schema
          return [
            type,
            {
              name: type,
              title: type,
              ...(summary === '' ? {} : { summary }),
              tags: [{ name: feature }],
              payload: { schemaFormat, schema: inComponents(own) },
              examples: examples.slice(0, 1).map((payload) => ({ payload: inJson(payload) })),
            },
          ]
        }),
      ),
      schemas: Object.fromEntries(
        [...entries, ...bodies].flatMap(({ schema }) =>
          Object.entries(schema['$defs'] ?? {}).map(([name, definition]) => [
            name,
            { schemaFormat, schema: inComponents(definition) },
          ]),
        ),
      ),
    },
  }
}

/** The same schema, where the definitions stand among the components. */
function inComponents(schema: unknown): unknown {
  return JSON.parse(
    JSON.stringify(schema).replaceAll(/"#\/\$defs\/(\w+)"/g, '"#/components/schemas/$1/schema"'),
  ) as unknown
}

/** A message as it stands in a JSON frame. */
function inJson(message: object): unknown {
  return JSON.parse(
    JSON.stringify(message, (_, value: unknown) =>
      value instanceof Uint8Array ? { $bytes: Buffer.from(value).toString('base64') } : value,
    ),
  ) as unknown
}
