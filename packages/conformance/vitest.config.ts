import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['@syncline/source'] },
  ssr: { resolve: { conditions: ['@syncline/source'] } },
  // Each run of the kit is against real sockets, on machines that have other work too.
  test: { include: ['src/**/*.test.ts', 'test/**/*.test.ts'], testTimeout: 240_000, hookTimeout: 60_000 },
})
