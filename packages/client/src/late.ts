import type { Contract } from '@syncline/protocol/contract'
import type { Code } from './code.ts'
import { SynclineError, anotherUser, asSynclineError, clientClosed } from './errors.ts'
import type { Feature, Kernel } from './feature.ts'

/** A feature that runs, and what its handles are made by. */
export interface LateFeature<Definition, Handle> extends Feature {
  /** A handle by the name and definition that the contract has for it: the same one each time. */
  open(name: string, definition: Definition): Handle
}

/** Code that makes a running feature. */
export type LateCode<Running extends Feature> = Code<{ start(kernel: Kernel): Running }>

/** A feature that is loaded when one of its handles is first used: a row of the table in `features.ts`. */
export interface LateDefinition<Definition, Handle> {
  readonly code: LateCode<LateFeature<Definition, Handle>>
  /** What stands for a handle until the code is here. */
  readonly standIn: (definition: Definition) => StandIn<Handle>
  /** It shows data that are here before its code: clients whose contract names some load it at once. */
  readonly isData?: true
}

/** Something that will be here. */
export interface Awaited<T> {
  readonly kernel: Kernel
  /** It, if it is here. Asking for it makes it come. */
  get(): T | undefined
  /**
   * Calls back with it, in the order of the calls: now if it is here. `failed` hears that another user has signed in
   * meanwhile, and unless `isPatient` also that it cannot be had now.
   */
  use(run: (it: T) => void, failed?: (error: SynclineError) => void, isPatient?: boolean): void
}

/** Makes what an application holds of something that is not here yet. */
export type StandIn<T> = (awaited: Awaited<T>) => T

/** What may wait for the code of one feature. Beyond it: BACKPRESSURE. */
const MAX_WAITING = 10_000

interface Waiting<Running> {
  readonly run: (running: Running) => void
  readonly failed: ((error: SynclineError) => void) | undefined
  readonly isPatient: boolean
}

/** One client's side of a feature whose code comes late. */
export class Late<Running extends Feature> implements Awaited<Running> {
  readonly kernel: Kernel
  readonly #code: LateCode<Running>
  readonly #started: (feature: Feature) => void
  readonly #isQuiet: boolean
  #running: Running | undefined
  #waiting: Waiting<Running>[] = []
  #loading: Promise<void> | undefined

  /** Where it `isQuiet`, nobody hears that its code cannot be had: it waits for the next session. */
  constructor(kernel: Kernel, lateCode: LateCode<Running>, started: (feature: Feature) => void, isQuiet = false) {
    this.kernel = kernel
    this.#isQuiet = isQuiet
    this.#code = lateCode
    this.#started = started
  }

  /** As much waits as may. */
  get isFull(): boolean {
    return this.#waiting.length >= MAX_WAITING
  }

  /** The handle of a name, or what stands for it. */
  handle<D, H>(
    this: Late<LateFeature<D, H>>,
    standIn: LateDefinition<D, H>['standIn'],
    name: string,
    definition: D,
  ): H {
    const running = this.#start()
    if (running !== undefined) return running.open(name, definition)
    return standIn(definition)(part(this, (feature) => feature.open(name, definition)))
  }

  get(): Running | undefined {
    const running = this.#start()
    if (running === undefined) void this.load()
    return running
  }

  use(run: (running: Running) => void, failed?: (error: SynclineError) => void, isPatient = true): void {
    const { turn } = this.kernel
    if (turn.isClosed) throw clientClosed()
    const running = this.#start()
    if (running !== undefined) return run(running)
    if (this.isFull) {
      throw new SynclineError('BACKPRESSURE', 'The code for this is not loaded yet, and too much waits for it.')
    }
    this.#waiting.push({ run, failed, isPatient })
    void this.load()
  }

  /** Loads the code if something waits for it. */
  async loadWaiting(): Promise<void> {
    if (this.#waiting.length > 0) await this.load()
  }

  /** Loads the code. Never rejects: what is patient goes on waiting where it cannot be had. */
  load(): Promise<void> {
    return (this.#loading ??= this.#load())
  }

  /** Another user has signed in: what the former one did is not done in this one's name. */
  userChanged(): void {
    this.#drop(anotherUser(), () => true)
  }

  async #load(): Promise<void> {
    try {
      await this.#code.load()
      this.#start()
    } catch (cause) {
      const error = new SynclineError('OFFLINE', 'A part of the client could not be loaded.', { cause })
      if (!this.#isQuiet) this.kernel.report(error)
      this.#drop(error, ({ isPatient }) => !isPatient)
    } finally {
      this.#loading = undefined
    }
  }

  #drop(error: SynclineError, isDropped: (waiting: Waiting<Running>) => boolean): void {
    const all = this.#waiting
    this.#waiting = all.filter((waiting) => !isDropped(waiting))
    for (const waiting of all) if (isDropped(waiting)) waiting.failed?.(error)
  }

  #start(): Running | undefined {
    const { module } = this.#code
    if (this.#running !== undefined || module === undefined) return this.#running
    const running = (this.#running = module.start(this.kernel))
    this.#started(running)
    for (const { run } of this.#waiting.splice(0)) {
      try {
        run(running)
      } catch (error) {
        this.kernel.report(asSynclineError(error))
      }
    }
    return running
  }
}

/** One of them, whatever it brings. */
export type AnyLate = Pick<Late<Feature>, 'load' | 'loadWaiting' | 'userChanged'>

/** Something that is made, once, of what will be here. */
export function part<Whole, T>(whole: Awaited<Whole>, make: (it: Whole) => T): Awaited<T> {
  let made: { readonly it: T } | undefined
  const of = (it: Whole): T => (made ??= { it: make(it) }).it
  return {
    kernel: whole.kernel,
    get() {
      const it = whole.get()
      return it === undefined ? undefined : of(it)
    },
    use: (run, failed, isPatient) => whole.use((it) => run(of(it)), failed, isPatient),
  }
}

/** Features whose handles a contract names, by the part of the contract. */
// eslint-disable-next-line typescript/no-explicit-any -- each has definitions and handles of its own.
export type LateFeatures = Readonly<Record<string, LateDefinition<any, any>>>

/** One client's side of the features whose handles a contract names. */
export interface LateGroups<Part extends string> {
  /** The handles, by part and name. */
  readonly groups: Readonly<Record<string, object>>
  readonly lates: Readonly<Record<Part, AnyLate>>
  /** Settle, without ever failing, when the code is here for data that the contract names. */
  readonly loading: readonly Promise<void>[]
}

/** Gives a client the handles that its contract names. `started` is called for each feature whose code has come. */
export function lateGroups<Part extends string>(
  kernel: Kernel,
  features: Readonly<Record<Part, LateFeatures[string]>>,
  contract: Contract | undefined,
  started: (feature: Feature) => void,
): LateGroups<Part> {
  const groups: Record<string, object> = {}
  const lates = {} as Record<Part, AnyLate>
  const loading: Promise<void>[] = []
  for (const [part, feature] of Object.entries(features) as [Part, LateFeatures[string]][]) {
    const late = new Late(kernel, feature.code, started)
    const definitions = contract?.[part as keyof Contract] as Readonly<Record<string, unknown>> | undefined
    lates[part] = late
    groups[part] = byName(definitions, (name, definition) => late.handle(feature.standIn, name, definition))
    if (feature.isData === true && definitions !== undefined) loading.push(late.load())
  }
  return { groups, lates, loading }
}

/** An object whose members are made when they are asked for. */
export function byName<Definition>(
  definitions: Readonly<Record<string, Definition>> | undefined,
  make: (name: string, definition: Definition) => unknown,
): object {
  return Object.defineProperties(
    {},
    Object.fromEntries(
      Object.entries(definitions ?? {}).map(([name, definition]) => [
        name,
        { enumerable: true, get: () => make(name, definition) },
      ]),
    ),
  )
}
