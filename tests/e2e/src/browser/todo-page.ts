import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Browser, type BrowserContext, type CDPSession, type Page } from 'playwright-core'
import { until } from '../until.ts'
import { findChromium } from './chromium.ts'

const FLAGS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
]

/** A todo as the page shows it. */
export interface ShownTodo {
  readonly key: string
  readonly text: string
  readonly note: string
  readonly priority: string
  readonly done: boolean
  readonly sync: string
}

/** What the page says at one moment. */
export interface Shown {
  readonly connection: string
  readonly mood: string
  readonly pending: number
  readonly rejected: number
  /** The status line, in words. */
  readonly says: string
  readonly todos: readonly ShownTodo[]
  readonly notices: readonly { readonly kind: string; readonly text: string }[]
  readonly empty: string
}

/** Starts Chromium with a profile of its own. */
export async function launch(): Promise<Browser> {
  const executablePath = findChromium()
  if (executablePath === undefined) throw new Error('There is no Chromium on the path.')
  return chromium.launch({ executablePath, args: FLAGS })
}

/** The todo page in one tab. It keeps everything that should not have happened. */
export class TodoPage {
  readonly page: Page
  readonly name: string
  /** Errors on the console and of scripts. */
  readonly complaints: string[] = []
  /** While the server is down, the browser itself complains that it cannot be reached. */
  isServerDown = false
  #network: CDPSession | undefined

  private constructor(page: Page, name: string) {
    this.page = page
    this.name = name
    page.on('console', (message) => {
      if (message.type() !== 'error') return
      const text = `${message.text()} (${message.location().url})`
      if (/ERR_CONNECTION_REFUSED|WebSocket connection to/.test(text) && this.isServerDown) return
      this.complaints.push(text)
    })
    page.on('pageerror', (error) => this.complaints.push(`${error.name}: ${error.message}`))
    page.on('dialog', (dialog) => {
      this.complaints.push(`A dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
  }

  /** Opens the page in a new tab. */
  static async open(context: BrowserContext, name: string, url: string): Promise<TodoPage> {
    const todo = await TodoPage.of(await context.newPage(), name)
    await todo.page.goto(url)
    return todo
  }

  /** A tab that is there already. */
  static async of(page: Page, name: string, isServerDown = false): Promise<TodoPage> {
    const todo = new TodoPage(page, name)
    todo.isServerDown = isServerDown
    await page.addInitScript(watch)
    return todo
  }

  /** Waits until the page says what it should. */
  async shows(what: string, fits: (shown: Shown) => boolean, limitMs: number = 20_000): Promise<Shown> {
    let shown: Shown | undefined
    try {
      await until(
        async () => {
          shown = await this.look()
          return fits(shown)
        },
        () => `${this.name} shows ${what}`,
        limitMs,
      )
    } catch (error) {
      const path = join(mkdtempSync(join(tmpdir(), 'syncline-shown-')), `${this.name}.png`)
      await this.page.screenshot({ path, fullPage: true }).catch(() => {})
      const state = JSON.stringify(shown, undefined, 1)
      throw new Error(`${(error as Error).message}\nscreenshot: ${path}\nit shows ${state}`, { cause: error })
    }
    return shown as Shown
  }

  look(): Promise<Shown> {
    return this.page.evaluate(read)
  }

  /** The words that the status line and a row have said since they were last asked, without repetitions. */
  async history(): Promise<{ moods: string[]; syncs: Record<string, string[]> }> {
    return this.page.evaluate(() => {
      const { seen } = globalThis as unknown as { seen: { moods: string[]; syncs: Record<string, string[]> } }
      const copy = structuredClone(seen)
      seen.moods = []
      seen.syncs = {}
      return copy
    })
  }

  /** Everything that should not have happened, violations of the content security policy included. */
  async allComplaints(): Promise<string[]> {
    const violations = this.page.isClosed()
      ? []
      : await this.page.evaluate(() => (globalThis as unknown as { violations?: string[] }).violations ?? [])
    return [...this.complaints, ...violations.map((each) => `content security policy: ${each}`)].map(
      (each) => `${this.name}: ${each}`,
    )
  }

  async add(text: string): Promise<void> {
    const input = this.page.getByLabel('New todo', { exact: true })
    await input.fill(text)
    await input.press('Enter')
  }

  async rename(text: string, to: string): Promise<void> {
    await this.page.getByRole('button', { name: `Rename: ${text}`, exact: true }).click()
    const box = this.page.getByRole('textbox', { name: `Rename: ${text}`, exact: true })
    await box.fill(to)
    await box.press('Enter')
  }

  async setNote(text: string, note: string): Promise<void> {
    await this.page.getByRole('button', { name: `Add a note to ${text}`, exact: true }).click()
    const box = this.page.getByRole('textbox', { name: `Add a note to ${text}`, exact: true })
    await box.fill(note)
    await box.press('Enter')
  }

  async setPriority(text: string, priority: 'low' | 'normal' | 'high'): Promise<void> {
    await this.page.getByLabel(`Priority of ${text}`, { exact: true }).selectOption(priority)
  }

  async toggle(text: string): Promise<void> {
    await this.page.getByRole('checkbox', { name: text, exact: true }).click()
  }

  async remove(text: string): Promise<void> {
    await this.page.getByRole('button', { name: `Delete ${text}`, exact: true }).click()
  }

  /** Waits until this many changes lie in the browser's storage, where the death of the tab cannot reach them. */
  async stored(count: number): Promise<void> {
    let found = -1
    await until(
      async () => (found = await this.page.evaluate(countQueue)) === count,
      () => `${count} changes of ${this.name} are in storage, found ${found}`,
    )
  }

  /** The page's files are kept: it opens without the server from now on. */
  async keepsItsFiles(): Promise<void> {
    await this.page.evaluate(async () => {
      await navigator.serviceWorker.ready
    })
  }

  /** Takes this tab off the network, or brings it back. */
  async cutOff(offline: boolean): Promise<void> {
    this.#network ??= await this.page.context().newCDPSession(this.page)
    const conditions = { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 }
    await this.#network.send('Network.emulateNetworkConditions', conditions)
  }
}

/** Runs in the page, before its own scripts. */
function watch(): void {
  const seen: { moods: string[]; syncs: Record<string, string[]> } = { moods: [], syncs: {} }
  const violations: string[] = []
  Object.assign(globalThis, { seen, violations })
  document.addEventListener('securitypolicyviolation', (event) => {
    violations.push(`${event.violatedDirective}: ${event.blockedURI} (${event.sourceFile}:${event.lineNumber})`)
  })
  const note = (list: string[], value: string): void => {
    if (value !== '' && list.at(-1) !== value) list.push(value)
  }
  const look = (): void => {
    note(seen.moods, document.querySelector<HTMLElement>('[data-testid="status"]')?.dataset['mood'] ?? '')
    for (const row of document.querySelectorAll<HTMLElement>('[data-testid="row"]')) {
      note((seen.syncs[row.dataset['key'] ?? ''] ??= []), row.dataset['sync'] ?? '')
    }
  }
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true })
}

/** Runs in the page. */
function read(): Shown {
  // Without the marks that keep the direction of a quoted text to itself.
  const words = (element: Element | null): string =>
    (element?.textContent ?? '')
      .replaceAll(/[\u2068\u2069]/g, '')
      .replaceAll(/\s+/g, ' ')
      .trim()
  const status = document.querySelector<HTMLElement>('[data-testid="status"]')
  const field = (row: Element, name: string): Element | null => row.querySelector(`[data-field="${name}"]`)
  const empty = document.querySelector<HTMLElement>('[data-testid="empty"]')
  return {
    connection: status?.dataset['connection'] ?? '',
    mood: status?.dataset['mood'] ?? '',
    pending: Number(status?.dataset['pending'] ?? -1),
    rejected: Number(status?.dataset['rejected'] ?? -1),
    says: words(status),
    todos: Array.from(document.querySelectorAll<HTMLElement>('[data-testid="row"]'), (row) => ({
      key: row.dataset['key'] ?? '',
      text: words(field(row, 'text')),
      note: words(field(row, 'note')),
      priority: (field(row, 'priority') as HTMLSelectElement | null)?.value ?? '',
      done: (field(row, 'done') as HTMLInputElement | null)?.checked ?? false,
      sync: row.dataset['sync'] ?? '',
    })),
    notices: Array.from(document.querySelectorAll<HTMLElement>('[data-testid^="notice-"]'), (notice) => ({
      kind: notice.dataset['kind'] ?? '',
      text: words(notice.querySelector('p')),
    })),
    empty: empty === null || empty.hidden ? '' : words(empty),
  }
}

/** Runs in the page. */
function countQueue(): Promise<number> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open('syncline-todo')
    opening.addEventListener('error', () => reject(opening.error ?? new Error('IndexedDB cannot be opened')))
    opening.addEventListener('success', () => {
      const counting = opening.result.transaction('queue').objectStore('queue').count()
      counting.addEventListener('error', () => reject(counting.error ?? new Error('IndexedDB cannot be read')))
      counting.addEventListener('success', () => {
        opening.result.close()
        resolve(counting.result)
      })
    })
  })
}
