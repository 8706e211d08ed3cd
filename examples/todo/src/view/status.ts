import type { Status } from '@syncline/client'
import { find, icon, setAttribute, setText, type IconName } from './dom.ts'

/** How the page is doing, in words. */
interface Report {
  /** What colours it. */
  readonly mood: 'saved' | 'busy' | 'waiting' | 'trouble'
  readonly icon: IconName
  readonly title: string
  readonly detail: string
}

/** The line that says at every moment what is saved where. */
export class StatusView {
  readonly #element = find('#status')
  readonly #icon = find('.status-icon')
  readonly #title = find('.status-title')
  readonly #detail = find('.status-detail')

  /** Shows the state of the client, which means nothing before it has opened what is kept here. */
  show(status: Status, isOpen: boolean): void {
    const report = isOpen ? describe(status) : OPENING
    setAttribute(this.#element, 'data-connection', status.connection)
    setAttribute(this.#element, 'data-pending', String(status.pending))
    setAttribute(this.#element, 'data-rejected', String(status.rejected))
    setAttribute(this.#element, 'data-mood', report.mood)
    setText(this.#title, report.title)
    setText(this.#detail, report.detail)
    if (this.#icon.dataset['icon'] === report.icon) return
    this.#icon.dataset['icon'] = report.icon
    this.#icon.replaceChildren(icon(report.icon))
  }
}

const OPENING: Report = {
  mood: 'busy',
  icon: 'syncing',
  title: 'Opening…',
  detail: 'Reading what is kept on this device.',
}
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' })
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' })
const LAST_SAVED = 'syncline-todo-last-saved'
const changes = (count: number): string => (count === 1 ? '1 change' : `${count} changes`)

/** Turns the state of the client into words. */
function describe(status: Status): Report {
  const { connection, pending, rejected, reason, lastSyncedAt, storage } = status
  const kept = keptWords(status)
  const last = lastSavedWords(lastSyncedAt)
  if (connection === 'needs-auth') {
    return {
      mood: 'trouble',
      icon: 'refused',
      title: 'Signed out',
      detail: `The server takes no changes until you sign in again; ${kept}.`,
    }
  }
  if (connection === 'error') {
    return {
      mood: 'trouble',
      icon: 'refused',
      title: 'Not connected',
      detail: `${reason?.message ?? 'The server cannot be used.'}${last}`,
    }
  }
  if (connection === 'online') {
    if (pending > 0)
      return { mood: 'busy', icon: 'syncing', title: 'Online', detail: `Saving ${changes(pending)}…${last}` }
    if (lastSyncedAt === undefined)
      return { mood: 'busy', icon: 'syncing', title: 'Online', detail: 'Getting what others wrote…' }
    if (rejected > 0) {
      const detail = `The server refused ${changes(rejected)}. Everything else is saved.${last}`
      return { mood: 'trouble', icon: 'refused', title: 'Online', detail }
    }
    return { mood: 'saved', icon: 'saved', title: 'Online', detail: `Everything is saved on the server.${last}` }
  }
  // Between two attempts the state changes every second or so; what it means to the reader does not.
  if (connection === 'connecting' && reason === undefined) {
    return { mood: 'busy', icon: 'syncing', title: 'Connecting…', detail: `${capital(kept)}.` }
  }
  const where = storage === 'memory' ? ' This browser keeps nothing beyond it.' : ''
  const detail =
    pending === 0
      ? `Go on writing: it is kept ${storage === 'memory' ? 'in this tab only' : 'on this device'}.${last}`
      : `${capital(kept)}, and sent when the server is back.${last}${where}`
  return { mood: 'waiting', icon: 'offline', title: 'Offline', detail }
}

/** When everything was last on the server, from an earlier visit too: the client itself starts to count when it starts. */
function lastSavedWords(lastSyncedAt: number | undefined): string {
  if (lastSyncedAt !== undefined) localStorage.setItem(LAST_SAVED, String(lastSyncedAt))
  const last = Number(localStorage.getItem(LAST_SAVED))
  if (last === 0) return ''
  const isToday = new Date(last).toDateString() === new Date().toDateString()
  return ` Last saved ${isToday ? 'at' : `on ${day.format(last)} at`} ${clock.format(last)}.`
}

/** Where the changes are that the server does not have: on this device only when its storage says so. */
function keptWords({ pending, unstored, storage }: Status): string {
  if (pending === 0) return 'nothing is waiting'
  const where =
    storage === 'memory' ? 'kept in this tab only' : unstored > 0 ? 'being kept on this device' : 'kept on this device'
  return `${changes(pending)} ${pending === 1 ? 'is' : 'are'} ${where}`
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
