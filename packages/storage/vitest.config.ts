import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

// The tests start a database thread, or a process, a hundred times over: compiling its sources once halves their time.
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('node_modules/.cache/compiled', import.meta.url))

export default defineConfig({
  resolve: { conditions: ['@syncline/source'] },
  ssr: { resolve: { conditions: ['@syncline/source'] } },
  // Flushes take as long as the disk takes, and machines that test are busy.
  test: { include: ['src/**/*.test.ts', 'test/**/*.test.ts'], testTimeout: 60_000, hookTimeout: 60_000 },
})
