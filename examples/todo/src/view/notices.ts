import { element, find, icon, setChildren, type IconName } from './dom.ts'

/** Something that the reader should know of, and may act on. */
export interface Notice {
  /** A later notice of the same id takes the place of the earlier one. */
  readonly id: string
  readonly kind: 'conflict' | 'rejected' | 'deleted' | 'error'
  readonly text: string
  readonly actions?: readonly { readonly label: string; readonly run: () => void }[]
  /** Called when it is dismissed. Without it dismissing just removes it. */
  readonly onDismiss?: () => void
  /** What the button that dismisses says. */
  readonly dismissLabel?: string
}

const ICONS: Readonly<Record<Notice['kind'], IconName>> = {
  conflict: 'conflict',
  rejected: 'refused',
  deleted: 'delete',
  error: 'refused',
}

/** The notices on the page, the newest last. They stay until they are dismissed. */
export class NoticesView {
  readonly #list = find('#notices')
  readonly #live = find('#live')
  readonly #shown = new Map<string, HTMLElement>()

  /** Shows a notice, and reads it aloud. */
  show(notice: Notice): void {
    this.#shown.delete(notice.id)
    this.#shown.set(notice.id, this.#item(notice))
    this.#render()
    this.#list.scrollTop = this.#list.scrollHeight
    this.say(notice.text)
  }

  has(id: string): boolean {
    return this.#shown.has(id)
  }

  /** Removes a notice. */
  remove(id: string): void {
    const item = this.#shown.get(id)
    if (item === undefined) return
    const hadFocus = item.contains(document.activeElement)
    this.#shown.delete(id)
    this.#render()
    if (hadFocus) find('#new-text').focus()
  }

  /** Removes the notices of a kind that no longer apply. */
  keepOnly(kind: Notice['kind'], ids: ReadonlySet<string>): void {
    for (const [id, item] of this.#shown) if (item.dataset['kind'] === kind && !ids.has(id)) this.remove(id)
  }

  /** Reads a sentence aloud, to those who listen to the page. */
  say(text: string): void {
    this.#live.textContent = text
  }

  #render(): void {
    setChildren(this.#list, [...this.#shown.values()])
  }

  #item({ id, kind, text, actions = [], onDismiss, dismissLabel }: Notice): HTMLElement {
    const buttons = actions.map(({ label, run }) => {
      const button = element('button', { type: 'button', class: 'link' }, label)
      button.addEventListener('click', () => {
        this.remove(id)
        run()
      })
      return button
    })
    const dismiss =
      dismissLabel === undefined
        ? element('button', { type: 'button', class: 'quiet', 'aria-label': 'Dismiss' }, icon('close'))
        : element('button', { type: 'button', class: 'link' }, dismissLabel)
    dismiss.dataset['action'] = 'dismiss'
    dismiss.addEventListener('click', () => {
      this.remove(id)
      onDismiss?.()
    })
    return element(
      'li',
      { class: 'notice', 'data-kind': kind, 'data-testid': `notice-${kind}` },
      icon(ICONS[kind]),
      element('p', {}, text),
      element('div', { class: 'notice-actions' }, ...buttons, ...(dismissLabel === undefined ? [] : [dismiss])),
      ...(dismissLabel === undefined ? [dismiss] : []),
    )
  }
}
