/**
 * A connection to a server, as the outside hands it in. The one who opened it sets the two handlers in the same turn;
 * they are called in later ones.
 */
export interface ClientSocket {
  onText: (text: string) => void
  /** Called once, also where the connection never opened. Nothing follows it. */
  onClose: (code: number, reason: string) => void
  send(text: string): void
  /** Closes from this side. `onClose` may follow or not. */
  close(code?: number, reason?: string): void
}
