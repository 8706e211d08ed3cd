import type * as Syncline from '@syncline/client'
import type { BrowserContext, Page } from 'playwright-core'
import { PageServer } from './page-server.ts'

/** A todo of the page's contract. */
export interface Todo {
  readonly text: string
  readonly rank: number
  readonly note: string
}

interface Anything<T> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly types?: { readonly input: T; readonly output: T }
    readonly validate: (value: unknown) => { readonly value: T }
  }
}

/** What the page's client is made for. */
export interface PageContract extends Syncline.Contract {
  readonly maps: { readonly todos: Syncline.MapDef<Anything<Todo>> }
  readonly sets: { readonly tags: Syncline.SetDef<Anything<string | { readonly id: number }>> }
  readonly counters: { readonly votes: Syncline.CounterDef }
}

/** What a page has beside the client: a client of its own, and what a test keeps between two steps. */
export interface InPage {
  readonly syncline: typeof Syncline
  db: Syncline.Client<PageContract>
  shown: Syncline.Query<Pick<Todo, 'text'>>
  /** How often other rows were shown. */
  told: number
  lock: Syncline.Lock | undefined
}

/** A server whose page has a client on IndexedDB. The server searches the texts of todos. */
export class HandlesServer extends PageServer {
  /** Opens a tab, on the data of its browser. */
  async visit(context: BrowserContext): Promise<Page> {
    const page = await context.newPage()
    await page.goto(this.url)
    await page.evaluate(open)
    return page
  }

  /** Loads a tab again. */
  async reload(page: Page): Promise<void> {
    await page.reload()
    await page.evaluate(open)
  }
}

/** Runs in the page. */
async function open(): Promise<void> {
  const inPage = globalThis as unknown as InPage
  const { counter, createClient, defineContract, indexedDB, map, set } = inPage.syncline
  const anything = <T>(): Anything<T> => ({
    '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as T }) },
  })
  const contract: PageContract = defineContract({
    maps: { todos: map({ schema: anything<Todo>(), search: ['text'] }) },
    sets: { tags: set({ schema: anything<string | { readonly id: number }>() }) },
    counters: { votes: counter() },
  })
  const url = location.origin.replace('http', 'ws') + '/ws'
  inPage.db = createClient({ contract, url, storage: indexedDB('handles') })
  inPage.lock = undefined
  await inPage.db.ready
}
