import type { WriteOptions } from '@syncline/client'
import type { ClientOp } from '@syncline/protocol'
import { FIELDS, type Step } from './steps.ts'
import type { Tab } from './tab.ts'
import { CANARY, HIDDEN_FIELD, VAULT } from './users.ts'
import type { Machine, World } from './world.ts'

/** Carries out the steps of a scenario, and ends its faults. */
export class Director {
  readonly #world: World
  readonly #seed: number
  #serverClockMs = 0
  #twinStamps = 0
  /** Every key that was written. */
  readonly #keys: string[] = []

  constructor(world: World, seed: number) {
    this.#world = world
    this.#seed = seed
  }

  take(step: Step): void {
    const { scheduler } = this.#world
    scheduler.note('step', JSON.stringify(step))
    this.#world.oracle.count(`step: ${step.kind}`)
    this.#take(step)
  }

  /** Ends every fault and brings everyone back. */
  heal(): void {
    const { network, machines, disk, scheduler, tabs } = this.#world
    scheduler.note('step', 'everything heals')
    if (this.#world.signIn !== undefined) {
      this.#world.signIn.fault = undefined
      this.#world.signIn.signedOut.clear()
    }
    this.#world.afterPage = undefined
    disk.fault = undefined
    disk.slownessMs = this.#world.options.diskSlownessMs
    for (const { name, storage } of machines) {
      network.heal(name)
      network.setSpeed(name, undefined)
      storage.fault = undefined
      storage.slownessMs = this.#world.options.storageSlownessMs
    }
    for (const { machine } of this.#world.bareClients) {
      network.heal(machine)
      network.setSpeed(machine, undefined)
    }
    this.#world.host.start()
    // Whoever has used a machine that is not theirs comes once more, for what they have left there.
    for (const machine of machines)
      if (this.#world.visited.has(machine.name)) this.#world.changeUser(machine, `${machine.name}'`)
    for (const tab of tabs) {
      tab.reload()
      if (tab.isAlive) tab.client.connect()
    }
    for (const machine of machines) {
      if (!tabs.some((tab) => tab.machine === machine && tab.isAlive && !tab.isClosed)) this.#world.openTab(machine)
    }
  }

  #take(step: Step): void {
    const world = this.#world
    const { network, disk, scheduler, machines } = world
    const later = (ms: number, run: () => void): void => void scheduler.after(ms, run)
    const machine = machines[step.on ?? step.n % machines.length] as Machine
    switch (step.kind) {
      case 'write':
        return this.#write(step)
      case 'bare write':
        return this.#bareWrite(step)
      case 'replay': {
        const client = world.bareClients[0]
        if (client !== undefined) world.replay(client, step.n)
        return
      }
      case 'crash tab': {
        const tab = this.#tab(step)
        if (tab === undefined) return
        const victims = step.isMachineOff
          ? world.tabs.filter((other) => other.machine === tab.machine && other.isAlive)
          : [tab]
        for (const victim of victims) {
          if (step.isReload) victim.leave()
          else victim.crash(step.isMachineOff)
          later(step.backAfterMs, () => victim.reload())
        }
        return
      }
      case 'close tab': {
        const tab = this.#tab(step)
        if (tab === undefined) return
        tab.isClosed = true
        if (step.isPolite) tab.close(() => {})
        else tab.crash(false)
        return
      }
      case 'open tab':
        if (world.tabs.length < 7) world.openTab(machine)
        return
      case 'duplicate tab': {
        const tab = this.#tab(step)
        if (tab !== undefined && world.tabs.length < 7) world.openTab(tab.machine, new Map(tab.memory))
        return
      }
      case 'go offline': {
        const client = this.#tab(step)?.client
        client?.disconnect()
        later(step.forMs, () => client?.connect())
        return
      }
      case 'wake':
        this.#tab(step)?.wake()
        return
      case 'partition': {
        const name = this.#machineName(step)
        network.partition(name, step.direction)
        later(step.forMs, () => network.heal(name))
        return
      }
      case 'reset': {
        const open = [...network.connections].filter(
          (connection) => connection.isOpen && (step.on === undefined || connection.machine === machine.name),
        )
        open[step.n % open.length]?.reset(step.isServerTold)
        return
      }
      case 'slow network': {
        const name = this.#machineName(step)
        network.setSpeed(name, step.bytesPerMs)
        later(step.forMs, () => network.setSpeed(name, undefined))
        return
      }
      case 'end server': {
        const end = (): void => {
          world.host.end(step.how)
          later(step.backAfterMs, () => world.host.start())
        }
        if (!step.isAtPage) return end()
        world.afterPage = () => later((step.n % 40) / 10, end)
        return
      }
      case 'stop server':
        return world.host.stop(() => later(step.backAfterMs, () => world.host.start()))
      case 'server disk fails':
        disk.fault = step.fault
        return later(step.fault === 'io' ? Math.min(step.forMs, 500) : step.forMs, () => {
          disk.fault = undefined
          // After an io fault the server has ended itself, and its supervisor starts it again.
          later(1_000, () => world.host.start())
        })
      case 'server disk slow':
        disk.slownessMs = step.maxMs
        return later(step.forMs, () => (disk.slownessMs = world.options.diskSlownessMs))
      case 'storage fails':
        machine.storage.fault = step.fault
        return later(step.forMs, () => (machine.storage.fault = undefined))
      case 'storage slow':
        machine.storage.slownessMs = step.maxMs
        return later(step.forMs, () => (machine.storage.slownessMs = world.options.storageSlownessMs))
      case 'sign-in fails': {
        const { signIn } = world
        if (signIn === undefined) return
        signIn.fault = step.fault
        return later(step.forMs, () => (signIn.fault = undefined))
      }
      case 'sign out':
        world.signIn?.signedOut.add(machine.name)
        return later(step.forMs, () => {
          world.signIn?.signedOut.delete(machine.name)
          for (const tab of world.tabs) if (tab.machine === machine && tab.isAlive) tab.client.connect()
        })
      case 'change user': {
        world.changeUser(machine, step.isAnother ? `${machine.name}'` : machine.name)
        return
      }
      case 'pry': {
        const guests = world.bareClients.filter(({ role }) => role === 'guest')
        return guests[step.n % guests.length]?.pry(this.#keys)
      }
      case 'tally': {
        const tab = this.#tab(step)
        const options: WriteOptions = { concern: step.level }
        if (tab === undefined) return
        if (step.act === 'add') world.tallies.add(tab, options)
        else if (step.act === 'count') world.tallies.count(tab, options)
        else world.tallies.remove(tab, step.isLatest === true ? undefined : step.n >> 4, options)
        return
      }
      case 'lock': {
        const tab = this.#tab(step)
        return tab === undefined ? undefined : world.lockUsers.ask(tab, step)
      }
      case 'publish': {
        const tab = this.#tab(step)
        if (tab !== undefined && world.options.gathers) world.gatherings.publish(tab, step.times, step.bytes)
        return
      }
      case 'show': {
        const tab = this.#tab(step)
        return tab === undefined ? undefined : world.gatherings.show(tab, step.n)
      }
      case 'days pass':
        return world.passDays(step.days)
      case 'clock jumps':
        return this.#jump(step.isServer, step.byMs, machine)
    }
  }

  #jump(isServer: boolean, byMs: number, machine: Machine): void {
    if (!isServer) return machine.clock.jump(byMs)
    const to = Math.max(-20_000, Math.min(40_000, this.#serverClockMs + byMs))
    this.#world.serverClock.jump(to - this.#serverClockMs)
    this.#world.oracle.serverClockSetAtMs = this.#world.scheduler.nowMs
    this.#serverClockMs = to
  }

  #tab({ n, on }: Pick<Step, 'n' | 'on'>): Tab | undefined {
    const { machines, tabs } = this.#world
    const alive = tabs.filter(
      (tab) => tab.isAlive && !tab.isClosed && (on === undefined || tab.machine === machines[on]),
    )
    return alive[n % alive.length]
  }

  #machineName({ n, on }: Pick<Step, 'n' | 'on'>): string {
    if (on !== undefined) return (this.#world.machines[on] as Machine).name
    const names = [
      ...this.#world.machines.map(({ name }) => name),
      ...this.#world.bareClients.map(({ machine }) => machine),
    ]
    return names[n % names.length] as string
  }

  #write(step: Extract<Step, { kind: 'write' }>): void {
    const tab = this.#tab(step)
    if (tab === undefined) return
    const { n, mapName, key, act, fields, level, waitFor, times, ttlMs } = step
    for (let i = 0; i < times; i++) {
      const at = i === 0 || act !== 'put' ? key : `${key}${i % 5}`
      // Now and then a guest tries what it may not do.
      const isMeek = tab.machine.role === 'guest' && n % 4 > 0
      this.#writeOnce(
        tab,
        isMeek
          ? { n, mapName: 'notes', key: at, act: 'patch', fields: ['a'], level, waitFor, ttlMs }
          : { n, mapName, key: at, act, fields, level, waitFor, ttlMs },
      )
    }
  }

  #writeOnce(
    tab: Tab,
    {
      n,
      mapName,
      key: name,
      act,
      fields,
      level,
      waitFor,
      ttlMs,
    }: Omit<Extract<Step, { kind: 'write' }>, 'kind' | 'atMs' | 'times'>,
  ): void {
    const key = this.#keyIn(mapName, name)
    const [first, ...others] = fields as [string, ...string[]]
    const isThere = tab.value(mapName, key) !== undefined
    if (!isThere && act === 'patch' && tab.machine.role === 'guest') return
    const options: WriteOptions = {
      concern: level,
      ...(name.startsWith('ttl') && act === 'put' ? { ttlMs } : {}),
    }
    tab.write(mapName, key, options, (map, tag) => {
      const values = Object.fromEntries(fields.map((field) => [field, textFor(mapName, field, tag)]))
      if (this.#world.options.isBulky && n % 2 === 0) values['bulk'] = `${'-'.repeat((n % 200) * 1_024)} ${tag}`
      const write =
        act === 'remove'
          ? map.delete(key, { concern: level })
          : act === 'put' || !isThere
            ? map.set(key, values, options)
            : map.update(
                key,
                (given) => {
                  const draft = given as Record<string, string>
                  draft[first] = textFor(mapName, first, tag)
                  for (const field of others) {
                    if (act === 'unset') delete draft[field]
                    else draft[field] = textFor(mapName, field, tag)
                  }
                },
                { concern: level },
              )
      if (waitFor !== undefined) write.wait(waitFor, { timeoutMs: 8_000 }).catch(() => {})
      return write
    })
  }

  #bareWrite(step: Extract<Step, { kind: 'bare write' }>): void {
    const { n, act, twin, lateMs } = step
    const world = this.#world
    const client = world.bareClients[n % world.bareClients.length]
    if (client === undefined) return
    const isMeek = client.role === 'guest'
    const { mapName, field } = isMeek ? { mapName: 'notes', field: 'a' } : step
    const key = this.#keyIn(mapName, step.key)
    const stamp = client.stamp()
    const write = (timestamp: typeof stamp, name: string): void => {
      const tag = world.nextTag()
      const value = act === 'remove' && !isMeek ? null : { [name]: textFor(mapName, name, tag) }
      const op: Omit<ClientOp, 'id'> = {
        mapName,
        key,
        opType: value === null ? 'REMOVE' : act === 'put' && !isMeek ? 'PUT' : 'PATCH',
        record: { value, timestamp },
      }
      const send = (): void => world.bareWrite(client, op, tag, n % 3 === 0 ? 'PERSISTED' : 'APPLIED', step.isTwice)
      if (lateMs > 0) world.scheduler.after(lateMs, send)
      else send()
    }
    if (!twin || isMeek) return write(stamp, field)
    // Two writers that took the same name: what they write under one stamp is joined the same way everywhere.
    const shared = { ...stamp, nodeId: `twin${this.#seed % 2}`, counter: this.#twinStamps++ }
    write(shared, field)
    write(shared, FIELDS[n % FIELDS.length] as string)
  }

  #keyIn(mapName: string, key: string): string {
    const name = mapName === VAULT ? `${CANARY}-${key}` : key
    if (!this.#keys.includes(name)) this.#keys.push(name)
    return name
  }
}

/** What a write puts into a field: its tag, and a canary where not everyone may see it. */
function textFor(mapName: string, field: string, tag: string): string {
  return mapName === VAULT || (mapName === 'notes' && field === HIDDEN_FIELD) ? `${CANARY} ${tag}` : tag
}
