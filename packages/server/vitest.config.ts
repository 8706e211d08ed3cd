import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['@syncline/source'] },
  ssr: { resolve: { conditions: ['@syncline/source'] } },
  // Real sockets and files share the machine with whatever else runs: a slow one must not look like a broken rule.
  test: { include: ['src/**/*.test.ts', 'test/**/*.test.ts'], testTimeout: 60_000, hookTimeout: 60_000 },
})
