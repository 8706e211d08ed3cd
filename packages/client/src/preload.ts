import { loadComparisons } from './features/merkle-sync/index.ts'
import { loadAdoption } from './offline/local-data.ts'

/**
 * Loads ahead the code that clients load by themselves, in the background, after they can be used. Tests on a virtual
 * clock do so, because it cannot wait for modules. Rejects where the code cannot be had.
 */
export async function preload(): Promise<void> {
  await Promise.all([loadComparisons(), loadAdoption()])
}
