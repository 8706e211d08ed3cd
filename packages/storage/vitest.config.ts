import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['@syncline/source'] },
  ssr: { resolve: { conditions: ['@syncline/source'] } },
  // Flushes take as long as the disk takes, and machines that test are busy.
  test: { include: ['src/**/*.test.ts', 'test/**/*.test.ts'], testTimeout: 30_000 },
})
