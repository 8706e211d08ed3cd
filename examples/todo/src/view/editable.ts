import { element, setAttribute, setText } from './dom.ts'

/** What an editable text is of, and what becomes of it. */
export interface EditableOptions {
  /** The field's name, for tests and styles. */
  readonly field: string
  readonly maxLength: number
  /** Opens it while there is no text, and nothing stands there. Without it the text cannot be emptied. */
  readonly opener?: HTMLButtonElement
  /** What the button does and the input holds, to be read aloud. */
  readonly label: (value: string) => string
  readonly onChange: (value: string) => void
}

/** Text that turns into an input when it is pressed. Enter and leaving keep the change, Escape drops it. */
export class Editable {
  readonly element = element('div', { class: 'editable' })
  readonly #options: EditableOptions
  readonly #button: HTMLButtonElement
  readonly #input: HTMLInputElement
  #value = ''

  constructor(options: EditableOptions) {
    this.#options = options
    const { field, maxLength } = options
    this.#button = element('button', { type: 'button', class: 'text', dir: 'auto', 'data-field': field })
    this.#input = element('input', {
      type: 'text',
      dir: 'auto',
      maxlength: String(maxLength),
      'data-field': field,
      hidden: true,
    })
    this.element.append(this.#button, this.#input)
    this.#button.addEventListener('click', () => this.#open())
    options.opener?.addEventListener('click', () => this.#open())
    this.#button.addEventListener('keydown', (event) => {
      if (event.key === 'F2') this.#open()
    })
    this.#input.addEventListener('blur', () => this.#close(true))
    this.#input.addEventListener('keydown', (event) => {
      if (event.isComposing || (event.key !== 'Enter' && event.key !== 'Escape')) return
      event.preventDefault()
      this.#close(event.key === 'Enter')
      if (!this.element.contains(document.activeElement)) this.#entry.focus()
    })
  }

  /** What is typed and not kept yet. */
  get draft(): string | undefined {
    const typed = this.#input.value.trim()
    return !this.#isOpen || typed === this.#value ? undefined : typed
  }

  /** Ends the editing and drops what is typed. */
  discard(): void {
    this.#close(false)
  }

  /** Shows a value. What is being typed stays. */
  show(value: string): void {
    const hadFocus = document.activeElement === this.#entry
    this.#value = value
    const { label, opener } = this.#options
    setText(this.#button, value)
    setAttribute(this.#button, 'aria-label', label(value))
    if (opener === undefined) return
    setAttribute(opener, 'aria-label', label(''))
    this.#toggle(!this.#isOpen)
    if (hadFocus && !this.#isOpen) this.#entry.focus()
  }

  get #isOpen(): boolean {
    return this.#input.hidden === false
  }

  /** What opens the input. */
  get #entry(): HTMLButtonElement {
    return this.#value === '' ? (this.#options.opener ?? this.#button) : this.#button
  }

  #toggle(isClosed: boolean): void {
    const { opener } = this.#options
    this.#input.hidden = isClosed
    this.#button.hidden = !isClosed || this.#entry === opener
    // It keeps its room, so that nothing beside it moves.
    opener?.classList.toggle('unseen', !isClosed || this.#entry !== opener)
  }

  #open(): void {
    this.#input.value = this.#value
    this.#input.setAttribute('aria-label', this.#options.label(this.#value))
    this.#toggle(false)
    this.#input.focus()
    this.#input.select()
  }

  #close(isKept: boolean): void {
    if (!this.#isOpen) return
    const { draft } = this
    this.#toggle(true)
    if (!isKept || draft === undefined) return
    if (draft !== '' || this.#options.opener !== undefined) this.#options.onChange(draft)
  }
}
