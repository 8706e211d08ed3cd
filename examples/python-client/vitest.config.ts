import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['@syncline/source'] },
  ssr: { resolve: { conditions: ['@syncline/source'] } },
  // The kit waits for heartbeats of the client: half a minute, and more on a busy machine.
  test: { include: ['test/**/*.test.ts'], testTimeout: 120_000 },
})
