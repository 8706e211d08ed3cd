import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['@syncline/source'] },
  ssr: { resolve: { conditions: ['@syncline/source'] } },
  test: { include: ['src/**/*.test.ts', 'test/**/*.test.ts'], testTimeout: 60_000, hookTimeout: 60_000 },
})
