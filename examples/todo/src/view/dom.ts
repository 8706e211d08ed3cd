const SVG = 'http://www.w3.org/2000/svg'

/** Makes an element. Attributes that are false are left out. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | boolean>> = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false) made.setAttribute(name, value === true ? '' : value)
  }
  made.append(...children)
  return made
}

/** The drawings, as paths on a canvas of 20 by 20. */
const ICONS = {
  saved: 'M6 15.5a4 4 0 0 1-.6-7.95A5 5 0 0 1 15 8.6a3.5 3.5 0 0 1-.5 6.9H6Z M7.6 11.4l1.9 1.9 3.4-3.8',
  waiting:
    'M6.5 2.8h7a1.2 1.2 0 0 1 1.2 1.2v12a1.2 1.2 0 0 1-1.2 1.2h-7A1.2 1.2 0 0 1 5.3 16V4a1.2 1.2 0 0 1 1.2-1.2Z M9 14.6h2',
  refused: 'M10 2.8 18 16.6H2L10 2.8Z M10 8v4 M10 14.2v.1',
  offline: 'M3 3l14 14 M6.2 15.5a4 4 0 0 1-.8-7.9 M8 4.4a5 5 0 0 1 7 4.2 3.5 3.5 0 0 1 2 5.4',
  syncing: 'M16.5 10a6.5 6.5 0 0 1-11.6 4 M3.5 10a6.5 6.5 0 0 1 11.6-4 M15.5 2.8V6.2H12 M4.5 17.2v-3.4H8',
  delete: 'M3.5 5.5h13 M8 5.5V3.5h4v2 M5 5.5l.8 11h8.4l.8-11 M8.4 8.6v5 M11.6 8.6v5',
  note: 'M4 5.5h12 M4 9.5h12 M4 13.5h6',
  close: 'M5 5l10 10 M15 5 5 15',
  conflict: 'M3.5 7h12 M12.5 4l3 3-3 3 M16.5 13h-12 M7.5 10l-3 3 3 3',
} as const

/** A drawing's name. */
export type IconName = keyof typeof ICONS

/** Makes a drawing that says nothing to screen readers: the words stand beside it. */
export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg')
  for (const [key, value] of Object.entries({ viewBox: '0 0 20 20', class: 'icon', 'aria-hidden': 'true' })) {
    svg.setAttribute(key, value)
  }
  const path = document.createElementNS(SVG, 'path')
  path.setAttribute('d', ICONS[name])
  svg.append(path)
  return svg
}

/** Writes an attribute, unless it is so already. */
export function setAttribute(target: Element, name: string, value: string): void {
  if (target.getAttribute(name) !== value) target.setAttribute(name, value)
}

/** Writes text, unless it is so already. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text
}

/** Puts children in this order with the fewest moves, because what moves loses the focus. Others are removed. */
export function setChildren(parent: Element, children: readonly Element[]): void {
  const wanted = new Set<Element>(children)
  for (const gone of Array.from(parent.children).filter((child) => !wanted.has(child))) gone.remove()
  let at = parent.firstElementChild
  for (const child of children) {
    if (child === at) at = at.nextElementSibling
    else parent.insertBefore(child, at)
  }
}

/** Finds an element of the page. */
export function find(selector: string, within: ParentNode = document): HTMLElement {
  const found = within.querySelector<HTMLElement>(selector)
  if (found === null) throw new Error(`The page has no ${selector}.`)
  return found
}
