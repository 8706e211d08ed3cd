import type { Row } from '@syncline/client'
import type { Todo } from '../data.ts'
import { element, icon, setAttribute, type IconName } from './dom.ts'
import { Editable } from './editable.ts'

/** What a row asks for. */
export interface RowActions {
  change(key: string, fields: Partial<Todo>): void
  remove(key: string): void
}

/** How a row's state is drawn and called. */
export const SYNC: Readonly<Record<Row<Todo>['sync'], { readonly icon: IconName; readonly words: string }>> = {
  synced: { icon: 'saved', words: 'On the server' },
  pending: { icon: 'waiting', words: 'Not on the server yet' },
  rejected: { icon: 'refused', words: 'Refused' },
}

const PRIORITIES: Readonly<Record<Todo['priority'], string>> = { high: 'High', normal: 'Normal', low: 'Low' }

/** One todo on the page. The elements stay the same as long as the todo is there. */
export class RowView {
  readonly element: HTMLLIElement
  readonly #done: HTMLInputElement
  readonly #text: Editable
  readonly #note: Editable
  readonly #priority: HTMLSelectElement
  readonly #delete: HTMLButtonElement
  readonly #sync: HTMLElement
  #row: Row<Todo> | undefined

  constructor(key: string, actions: RowActions) {
    this.#done = element('input', { type: 'checkbox', 'data-field': 'done' })
    this.#text = new Editable({
      field: 'text',
      maxLength: 500,
      label: (value) => `Rename: ${value}`,
      onChange: (text) => actions.change(key, { text }),
    })
    const addNote = element('button', { type: 'button', class: 'quiet add-note', 'data-action': 'note' }, icon('note'))
    this.#note = new Editable({
      field: 'note',
      maxLength: 1_000,
      opener: addNote,
      label: (value) => (value === '' ? `Add a note to ${this.#name}` : `Note: ${value}`),
      onChange: (note) => actions.change(key, { note }),
    })
    this.#note.element.classList.add('note')
    this.#priority = element(
      'select',
      { 'data-field': 'priority' },
      ...Object.entries(PRIORITIES).map(([value, words]) => element('option', { value }, words)),
    )
    this.#delete = element('button', { type: 'button', class: 'quiet', 'data-action': 'delete' }, icon('delete'))
    this.#sync = element('span', { class: 'sync' })
    this.element = element(
      'li',
      { class: 'row', 'data-key': key, 'data-testid': 'row' },
      this.#done,
      element('div', { class: 'body' }, this.#text.element, this.#note.element),
      element('div', { class: 'meta' }, addNote, this.#priority),
      this.#sync,
      this.#delete,
    )

    this.#done.addEventListener('change', () => actions.change(key, { done: this.#done.checked }))
    this.#priority.addEventListener('change', () =>
      actions.change(key, { priority: this.#priority.value as Todo['priority'] }),
    )
    this.#delete.addEventListener('click', () => actions.remove(key))
  }

  /** Text that is being typed and would go with the row. */
  get draft(): string | undefined {
    return this.#text.draft ?? this.#note.draft
  }

  /** Lets go of what is being typed: the todo is gone. */
  discard(): void {
    this.#text.discard()
    this.#note.discard()
  }

  /** Shows a row, touching only what is not shown so already. */
  show(row: Row<Todo>): void {
    if (row === this.#row) return
    this.#row = row
    const { text, note, priority, done } = row.value
    this.#done.checked = done
    setAttribute(this.#done, 'aria-label', text)
    this.#text.show(text)
    this.#note.show(note)
    this.#priority.value = priority
    setAttribute(this.#priority, 'aria-label', `Priority of ${text}`)
    setAttribute(this.#priority, 'data-value', priority)
    setAttribute(this.#delete, 'aria-label', `Delete ${text}`)
    this.element.classList.toggle('done', done)
    if (this.element.dataset['sync'] !== row.sync) {
      const { icon: name, words } = SYNC[row.sync]
      this.element.dataset['sync'] = row.sync
      this.#sync.replaceChildren(icon(name), element('span', { class: 'sync-words' }, words))
      this.#sync.title = words
    }
  }

  /** Puts the focus on the same control as in another row. */
  focusLike(control: Element): void {
    const { field, action } = (control as HTMLElement).dataset
    const selector = field === undefined ? `[data-action="${action}"]` : `[data-field="${field}"]:not([hidden])`
    ;(this.element.querySelector<HTMLElement>(selector) ?? this.#done).focus()
  }

  get #name(): string {
    return this.#row?.value.text ?? ''
  }
}
