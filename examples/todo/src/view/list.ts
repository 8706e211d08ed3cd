import type { QueryState, Row } from '@syncline/client'
import type { Todo } from '../data.ts'
import { element, find, icon, setAttribute, setChildren, setText } from './dom.ts'
import { RowView, SYNC, type RowActions } from './row.ts'

type Filter = 'all' | 'open' | 'done'

/** What the list tells beside what its rows ask for. */
export interface ListActions extends RowActions {
  /** A row is gone, from here or elsewhere, while somebody typed in it. */
  lostDraft(draft: string): void
}

const shows: Readonly<Record<Filter, (row: Row<Todo>) => boolean>> = {
  all: () => true,
  open: (row) => !row.value.done,
  done: (row) => row.value.done,
}

/** The todos on the page, one element for each key. */
export class ListView {
  readonly #actions: ListActions
  readonly #list = find('#list')
  readonly #empty = find('#empty')
  readonly #filters = [...document.querySelectorAll<HTMLButtonElement>('[data-filter]')]
  readonly #views = new Map<string, RowView>()
  #filter: Filter = 'all'
  #state: QueryState<Todo> | undefined

  constructor(actions: ListActions) {
    this.#actions = actions
    for (const button of this.#filters) {
      button.addEventListener('click', () => {
        this.#filter = button.dataset['filter'] as Filter
        if (this.#state !== undefined) this.show(this.#state)
      })
    }
    this.#list.addEventListener('keydown', (event) => this.#step(event))
    for (const [sync, { icon: name, words }] of Object.entries(SYNC)) {
      find('#legend').append(element('li', { 'data-sync': sync }, icon(name), words))
    }
  }

  /** Shows the query's result. */
  show(state: QueryState<Todo>): void {
    this.#state = state
    const shown = state.rows.filter((row) => shows[this.#filter](row))
    const focused = this.#focusedPlace()
    this.#forgetGone(new Set(state.rows.map((row) => row.key)))
    setChildren(
      this.#list,
      shown.map((row) => this.#view(row)),
    )
    this.#keepFocus(focused)
    setAttribute(this.#list, 'data-status', state.status)
    this.#list.hidden = shown.length === 0
    this.#empty.hidden = shown.length > 0
    setText(this.#empty, emptyWords(state, this.#filter))
    for (const button of this.#filters) {
      const filter = button.dataset['filter'] as Filter
      setAttribute(button, 'aria-pressed', String(filter === this.#filter))
      setText(find('.count', button), String(state.rows.filter((row) => shows[filter](row)).length))
    }
    const open = state.rows.filter((row) => shows.open(row)).length
    document.title = open === 0 ? 'Todos' : `(${open}) Todos`
  }

  #view(row: Row<Todo>): RowView['element'] {
    let view = this.#views.get(row.key)
    if (view === undefined) this.#views.set(row.key, (view = new RowView(row.key, this.#actions)))
    view.show(row)
    return view.element
  }

  #forgetGone(keys: ReadonlySet<string>): void {
    for (const [key, view] of this.#views) {
      if (keys.has(key)) continue
      this.#views.delete(key)
      const { draft } = view
      view.discard()
      if (draft !== undefined) this.#actions.lostDraft(draft)
    }
  }

  /** Where the focus is in the list: the control, and the number of its row. */
  #focusedPlace(): { control: Element; row: Element; index: number } | undefined {
    const control = document.activeElement
    const row = control?.closest('.row')
    if (control === null || !(row instanceof HTMLElement)) return undefined
    return { control, row, index: [...this.#list.children].indexOf(row) }
  }

  /** When the row with the focus is gone, its neighbour gets it, and not the page. */
  #keepFocus(place: { control: Element; row: Element; index: number } | undefined): void {
    if (place === undefined || place.row.isConnected) return
    const neighbour = this.#list.children[Math.min(place.index, this.#list.children.length - 1)]
    const view = this.#viewOf(neighbour)
    if (view === undefined) find('#new-text').focus()
    else view.focusLike(place.control)
  }

  /** Arrow keys go to the same control of the next row. */
  #step(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    const place = this.#focusedPlace()
    if (step === undefined || place === undefined) return
    if (place.control instanceof HTMLSelectElement || (place.control as HTMLInputElement).type === 'text') return
    const view = this.#viewOf(this.#list.children[place.index + step])
    if (view === undefined) return
    event.preventDefault()
    view.focusLike(place.control)
  }

  #viewOf(row: Element | undefined): RowView | undefined {
    return row instanceof HTMLElement ? this.#views.get(row.dataset['key'] ?? '') : undefined
  }
}

/** Nothing to show has four reasons, and each is another answer. */
function emptyWords({ status, complete, rows, error }: QueryState<Todo>, filter: Filter): string {
  if (status === 'loading') return 'Opening what is kept on this device…'
  if (status === 'error') return error?.message ?? 'The list cannot be shown.'
  if (rows.length > 0) return filter === 'done' ? 'Nothing is done yet.' : 'Everything is done.'
  if (complete) return 'Nothing to do. Write the first todo above.'
  return 'Nothing on this device yet. What the server has comes as soon as it is reached.'
}
