import { lateCode } from './features.ts'

/**
 * Loads ahead the code that clients load by themselves, in the background or when a handle is first used. Tests on a
 * virtual clock do so, because it cannot wait for modules. Rejects where the code cannot be had.
 */
export async function preload(): Promise<void> {
  await Promise.all(lateCode.map((code) => code.load()))
}
