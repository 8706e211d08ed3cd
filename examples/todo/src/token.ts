import type { AuthContext } from '@syncline/client'

const KEPT = 'syncline-todo-token'

/** The token of the development server: the one from before while the server takes it, then a new one. */
export async function token({ reason, signal }: AuthContext): Promise<string> {
  const kept = localStorage.getItem(KEPT)
  if (reason === 'connect' && kept !== null) return kept
  const response = await fetch('/dev/token', { signal, cache: 'no-store' })
  const text = await response.text()
  if (!response.ok) throw new Error(text)
  localStorage.setItem(KEPT, text)
  return text
}
