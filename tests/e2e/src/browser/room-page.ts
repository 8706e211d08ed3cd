import type * as Syncline from '@syncline/client'
import type { Browser, Page } from 'playwright-core'
import { PageServer } from './page-server.ts'

/** What the page keeps of one room: who is in it now, and each coming, change of state and leaving, with its time. */
export interface Watched {
  readonly others: readonly { readonly id: string; readonly name: string; readonly state: string }[]
  readonly log: readonly {
    readonly atMs: number
    readonly what: 'come' | 'away' | 'active' | 'leave'
    readonly name: string
  }[]
}

interface InPage {
  readonly syncline: typeof Syncline
  watched: { others: Watched['others']; log: { atMs: number; what: string; name: string }[] }
}

/** A server whose page can be in a room. */
export class RoomServer extends PageServer {
  /** Opens a page of a browser, in the room under a name. */
  async visit(browser: Browser, name: string): Promise<Page> {
    const page = await browser.newPage()
    await page.goto(this.url)
    await page.evaluate(join, name)
    return page
  }
}

/** What a page has seen. */
export function watched(page: Page): Promise<Watched> {
  return page.evaluate(() => (globalThis as unknown as InPage).watched as Watched)
}

/** Runs in the page. */
function join(name: string): void {
  const inPage = globalThis as unknown as InPage
  const anything = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as const
  const { createClient, defineContract, room } = inPage.syncline
  const contract = defineContract({ rooms: { board: room({ presence: anything }) } })
  const db = createClient({ contract, url: location.origin.replace('http', 'ws') + '/ws' })
  const board = db.rooms.board.join('b1', { presence: { name } })
  inPage.watched = { others: [], log: [] }
  board.others.subscribe((members) => {
    const { watched } = inPage
    const others = members.map(({ id, presence, state }) => ({ id, name: (presence as { name: string }).name, state }))
    const note = (what: string, each: { readonly name: string }): void => {
      watched.log.push({ atMs: Date.now(), what, name: each.name })
    }
    for (const other of others) {
      const before = watched.others.find(({ id }) => id === other.id)
      if (before === undefined) note('come', other)
      else if (before.state !== other.state) note(other.state, other)
    }
    for (const before of watched.others) if (!others.some(({ id }) => id === before.id)) note('leave', before)
    watched.others = others
  })
}
