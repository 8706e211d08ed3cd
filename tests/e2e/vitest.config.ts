import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// Servers are started a hundred times: what they load is compiled once.
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url))

const shared = {
  resolve: { conditions: ['@syncline/source'] },
  ssr: { resolve: { conditions: ['@syncline/source'] } },
}

// One file at a time: each runs servers and browsers of its own, on machines with two cores.
export default defineConfig({
  test: {
    fileParallelism: false,
    projects: [
      {
        ...shared,
        test: {
          name: 'server',
          include: ['src/**/*.test.ts'],
          exclude: ['src/**/*.browser.test.ts'],
          globalSetup: 'src/built.ts',
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: {
          name: 'browser',
          include: ['src/**/*.browser.test.ts'],
          globalSetup: ['src/built.ts', 'src/browser/chromium.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
})
