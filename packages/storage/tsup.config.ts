import { defineConfig } from 'tsup'

export default defineConfig({
  entry: ['src/index.ts', 'src/sqlite/index.ts', 'src/sqlite/worker.ts', 'src/testing/contract.ts'],
  format: ['esm'],
  target: 'es2023',
  platform: 'node',
  sourcemap: true,
  clean: true,
  dts: false,
})
