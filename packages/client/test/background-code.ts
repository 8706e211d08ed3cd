import { vi } from 'vitest'
import { code as codeOf } from '../src/code.ts'
import type * as features from '../src/features.ts'
import type * as client from '../src/index.ts'

/** Whether the code for the background can be had, and how often it was asked for. */
export interface BackgroundCode {
  isHere: boolean
  attempts: number
}

/** A copy of the client by itself, whose code for the background can be had when the test says so. */
export async function clientOf(code: BackgroundCode): Promise<typeof client> {
  vi.resetModules()
  // It is here already, so that having it takes no time that a virtual clock does not know.
  vi.doMock('../src/features.ts', async (importActual) => {
    const actual = await importActual<typeof features>()
    const background = await import('../src/background.ts')
    const backgroundCode = codeOf(async () => {
      code.attempts++
      if (!code.isHere) throw new Error('Failed to fetch dynamically imported module')
      return background
    })
    return { ...actual, backgroundCode }
  })
  try {
    return await import('../src/index.ts')
  } finally {
    vi.doUnmock('../src/features.ts')
  }
}
