import type { CheckGroup } from '../check.ts'
import { expectShape, expectThat, shown } from '../failure.ts'
import { signToken } from '../token.ts'
import { NO_ROLE, type Trial } from '../trial.ts'
import { refusesMessages } from './frames.ts'

/** A token that must not be taken ends the connection. */
async function isRejected(trial: Trial, token: string): Promise<void> {
  const peer = await trial.connect()
  await peer.take('AUTH_REQUIRED')
  expectShape(
    await peer.ask({ type: 'AUTH', token }, 'AUTH_FAIL'),
    { code: 401, errorCode: 'UNAUTHORIZED' },
    'AUTH_FAIL with',
  )
  const { code } = await peer.untilClosed()
  expectThat(code === 4001, 'close 4001', `close ${code}`)
}

const needsAuth = (trial: Trial): void => {
  if (trial.facts.isOpen) trial.skip('the server is open to everyone')
}

/** SE: sessions. */
export const sessions: CheckGroup = {
  name: 'Sessions',
  checks: [
    {
      rule: 'SE1',
      title: 'an AUTH that is malformed is refused, and the connection survives',
      run: (trial) => refusesMessages(trial, 'SE1'),
    },
    {
      rule: 'SE2',
      title: 'PING is answered before AUTH, with its timestamp and the time of the server',
      async run(trial) {
        const peer = await trial.connect()
        await peer.take('AUTH_REQUIRED')
        const { timestamp, serverTime } = await peer.ask({ type: 'PING', timestamp: 12.5 }, 'PONG')
        expectThat(timestamp === 12.5, 'the timestamp 12.5', shown(timestamp))
        expectThat(
          Math.abs(Number(serverTime) - trial.now()) < 5_000,
          `a serverTime near ${trial.now()}`,
          shown(serverTime),
        )
      },
    },
    { rule: 'SE2', title: 'a PING without a number is refused', run: (trial) => refusesMessages(trial, 'SE2') },
    {
      rule: 'SE3',
      title: 'AUTH_REQUIRED says the time and the version of the protocol',
      encodings: ['json'],
      async run(trial) {
        const peer = await trial.connect()
        const { serverTime, protocolVersion } = await peer.take('AUTH_REQUIRED')
        expectThat(typeof serverTime === 'number', 'a serverTime', shown(serverTime))
        expectThat(
          Number.isInteger(protocolVersion) && Number(protocolVersion) >= 1,
          'a protocolVersion',
          shown(protocolVersion),
        )
      },
    },
    {
      rule: 'SE3',
      title: 'without AUTH everything works where it is optional, and nothing where it is not',
      async run(trial) {
        const peer = await trial.connect()
        await peer.take('AUTH_REQUIRED')
        peer.send({ type: 'SYNC_INIT', mapName: trial.name(), cursor: null })
        if (trial.facts.isOpen) await peer.take('SYNC_DIFF')
        else {
          await peer.takeError('UNAUTHORIZED', 'SYNC_INIT')
          await peer.ask({ type: 'AUTH', token: trial.token() }, 'AUTH_ACK')
        }
      },
    },
    {
      rule: 'SE4',
      title: 'AUTH is answered by AUTH_ACK with user, time, version and database',
      async run(trial) {
        const peer = await trial.connect()
        await peer.take('AUTH_REQUIRED')
        const token = trial.facts.isOpen ? 'anything' : trial.token()
        const { userId, databaseId, serverTime, protocolVersion } = await peer.ask({ type: 'AUTH', token }, 'AUTH_ACK')
        expectThat(typeof userId === 'string' && userId !== '', 'a userId', shown(userId))
        expectThat(typeof databaseId === 'string' && databaseId !== '', 'a databaseId', shown(databaseId))
        expectThat(typeof serverTime === 'number', 'a serverTime', shown(serverTime))
        expectThat(typeof protocolVersion === 'number', 'a protocolVersion', shown(protocolVersion))
      },
    },
    {
      rule: 'SE4',
      title: 'a token that is no token is refused by AUTH_FAIL and close 4001',
      async run(trial) {
        needsAuth(trial)
        await isRejected(trial, 'not a token')
      },
    },
    {
      rule: 'SE4',
      title: 'tokens of another key, without a signature, or that have expired are refused',
      async run(trial) {
        needsAuth(trial)
        const secret = trial.secret()
        await isRejected(trial, signToken('another secret of more than 32 characters', trial.claims()))
        await isRejected(trial, signToken(secret, trial.claims(), { alg: 'none' }))
        await isRejected(trial, signToken(secret, { ...trial.claims(), exp: Math.floor(trial.now() / 1000) - 60 }))
      },
    },
    {
      rule: 'SE6',
      title: 'a frame of more than 64 KiB before AUTH closes the connection with 1009',
      async run(trial) {
        needsAuth(trial)
        const peer = await trial.connect()
        await peer.take('AUTH_REQUIRED')
        peer.send({ type: 'AUTH', token: 'x'.repeat(65_536) })
        const { code } = await peer.untilClosed()
        expectThat(code === 1009, 'close 1009', `close ${code}`)
      },
    },
    {
      rule: 'SE7',
      title: 'the same token again is answered once, and each time where it has a requestId',
      async run(trial) {
        needsAuth(trial)
        const peer = await trial.signedIn()
        const token = trial.token()
        const first = await peer.ask({ type: 'AUTH', token, requestId: 'r1' }, 'AUTH_ACK')
        const second = await peer.ask({ type: 'AUTH', token, requestId: 'r2' }, 'AUTH_ACK')
        expectThat(first.requestId === 'r1' && second.requestId === 'r2', 'an answer to each', shown([first, second]))
        peer.send({ type: 'AUTH', token })
        await peer.settle()
        expectThat(peer.inbox.length === 0, 'no other answer', shown(peer.inbox))
      },
    },
    {
      rule: 'SE8',
      title: 'rights end with the token: AUTH_FAIL, and close 4001',
      async run(trial) {
        const exp = Math.floor(trial.now() / 1000) + 2
        const peer = await trial.signedInAs({ exp })
        await peer.take('AUTH_FAIL')
        const late = trial.now() - exp * 1000
        expectThat(late > -500 && late < 3_000, 'AUTH_FAIL within two seconds of its end', `${late} ms after it`)
        const { code } = await peer.untilClosed()
        expectThat(code === 4001, 'close 4001', `close ${code}`)
      },
    },
    {
      rule: 'RI1',
      title: 'what no policy allows is refused FORBIDDEN',
      async run(trial) {
        const peer = await trial.signedInAs({ roles: [NO_ROLE] })
        const mapName = trial.name()
        for (const message of [
          { type: 'SYNC_INIT', mapName, cursor: null },
          { type: 'QUERY_SUB', payload: { queryId: 'q', mapName, query: {} } },
          { type: 'SYNC_FETCH', payload: { mapName, keys: ['k'] } },
          { type: 'TOPIC_SUB', payload: { topic: mapName } },
          { type: 'ROOM_JOIN', payload: { room: mapName, presence: {} } },
        ]) {
          peer.send(message)
          await peer.takeError('FORBIDDEN', message.type)
        }
        const op = { mapName, key: 'k', record: { value: 1, timestamp: trial.stamp() } }
        const { payload } = await peer.ask({ type: 'CLIENT_OP', payload: op }, 'OP_ACK')
        expectShape(payload['results'], [{ success: false, errorCode: 'FORBIDDEN' }], 'results')
      },
    },
    {
      rule: 'RI3',
      title: "maps of the server's own are not for users",
      async run(trial) {
        const peer = await trial.signedInAs({ roles: ['USER'] })
        peer.send({ type: 'SYNC_INIT', mapName: '$sys/conformance', cursor: null })
        await peer.takeError('FORBIDDEN', 'SYNC_INIT')
      },
    },
    {
      rule: 'VE2',
      title: 'a version that the server does not speak is refused UNSUPPORTED_VERSION',
      async run(trial) {
        const peer = await trial.connect()
        await peer.take('AUTH_REQUIRED')
        const token = trial.facts.isOpen ? 'anything' : trial.token()
        peer.send({ type: 'AUTH', token, protocolVersion: trial.facts.protocolVersion + 1_000 })
        await peer.takeError('UNSUPPORTED_VERSION', 'AUTH')
        await peer.ask({ type: 'AUTH', token, protocolVersion: trial.facts.protocolVersion }, 'AUTH_ACK')
      },
    },
  ],
}
