import { asSynclineError, type SynclineError } from './errors.ts'
import { part, type Awaited, type StandIn } from './late.ts'
import { earlyWrite, type Write } from './offline/write.ts'
import { Source, unsubscriber, type Readable, type Unsubscribe } from './readable.ts'

// What stands for the members of a handle until its code is here, by what they answer.

type Method<Args extends unknown[], Result> = (...args: Args) => Result

/** A method that answers nothing: it is called later. */
export const runs =
  <Args extends unknown[]>(it: Awaited<Method<Args, void>>): Method<Args, void> =>
  (...args) =>
    it.use((method) => method(...args))

/** A method that answers a promise. It rejects where the code cannot be had now. */
export const promises =
  <Args extends unknown[], T>(it: Awaited<Method<Args, Promise<T>>>): Method<Args, Promise<T>> =>
  (...args) =>
    new Promise((resolve, reject) => {
      it.use((method) => resolve((async () => method(...args))()), reject, false)
    })

/** A handle that is one promise. It rejects where the code cannot be had now. */
export const promised =
  () =>
  <T>(it: Awaited<Promise<T>>): Promise<T> =>
    new Promise((resolve, reject) => {
      it.use((promise) => void promise.then(resolve, reject), reject, false)
    })

/** A method that begins something and answers what ends it. */
export const stops =
  <Args extends unknown[]>(it: Awaited<Method<Args, Unsubscribe>>): Method<Args, Unsubscribe> =>
  (...args) =>
    begun(it, (method) => method(...args))

/** A method that answers from what is here. */
export const answers =
  <T>(initial: T) =>
  <Args extends unknown[]>(it: Awaited<Method<Args, T>>): Method<Args, T> =>
  (...args) => {
    const method = it.get()
    return method === undefined ? initial : method(...args)
  }

/** A method that writes. The real one takes the `Write` that was handed out already after its `count` arguments. */
export const writes =
  (count: number) =>
  <Args extends unknown[]>(it: Awaited<(...args: Args) => Write>): Method<Args, Write> =>
  (...args) => {
    const method = it.get()
    if (method !== undefined) return method(...args)
    const { kernel } = it
    const write = earlyWrite(kernel)
    const padded = Array.from({ length: count }, (_, i) => args[i])
    const failed = (error: SynclineError): void => kernel.failed(write, error)
    it.use((late) => {
      try {
        ;(late as (...all: unknown[]) => Write)(...padded, write)
      } catch (error) {
        failed(asSynclineError(error))
      }
    }, failed)
    return write
  }

/** A method that answers an iterator over what comes from now on. */
export const streams =
  <Args extends unknown[], T>(
    it: Awaited<Method<Args, AsyncIterableIterator<T>>>,
  ): Method<Args, AsyncIterableIterator<T>> =>
  (...args) => {
    const begun = promises(
      part(
        it,
        (method) =>
          async (...all: Args) =>
            method(...all),
      ),
    )(...args)
    // Whoever iterates hears of it.
    begun.catch(() => {})
    return {
      next: async () => (await begun).next(),
      return: async (value) => (await begun).return?.(value) ?? { done: true, value },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

/** A Readable that has a value until the real one is here; by their members, whatever else it is. */
export const readable =
  // eslint-disable-next-line typescript/no-empty-object-type -- without members it is a Readable alone.
  <T, M extends object = {}>(initial: T, standIns?: StandIns<M>) =>
    (it: Awaited<Readable<T> & M>): Readable<T> & M => {
      const source: Source<T> = new Source(
        it.kernel.turn,
        () => it.get()?.get() ?? initial,
        () =>
          begun(it, (real) => {
            source.changed()
            return real.subscribe(() => source.changed())
          }),
      )
      return Object.assign(source, standIns && members(standIns)(it)) as Readable<T> & M
    }

/** A method that answers a handle. It is called when the code is here, whether or not the handle is used. */
export const opens =
  <T>(standIn: StandIn<T>) =>
  <Args extends unknown[]>(it: Awaited<Method<Args, T>>): Method<Args, T> =>
  (...args) => {
    const method = it.get()
    if (method !== undefined) return method(...args)
    const opened = part(it, (late) => late(...args))
    opened.use(() => {})
    return standIn(opened)
  }

/** What stands for the members of an object. */
type StandIns<T> = { readonly [Name in keyof T]: StandIn<T[Name]> }

/** An object, by its members. */
export const members =
  <T extends object>(standIns: StandIns<T>) =>
  (it: Awaited<T>): T => {
    const made: Partial<T> = {}
    for (const name of Reflect.ownKeys(standIns) as (keyof T)[]) {
      made[name] = standIns[name](
        part(it, (real) => {
          const member = real[name]
          return (typeof member === 'function' ? member.bind(real) : member) as T[keyof T]
        }),
      )
    }
    return made as T
  }

function begun<T>(it: Awaited<T>, begin: (real: T) => () => void): Unsubscribe {
  let stop: (() => void) | undefined
  let isStopped = false
  it.use((real) => {
    if (!isStopped) stop = begin(real)
  })
  return unsubscriber(() => {
    isStopped = true
    stop?.()
  })
}
