import { defineConfig } from 'tsup'

export default defineConfig({
  entry: ['src/index.ts', 'src/testing/test-server.ts'],
  format: ['esm'],
  target: 'es2023',
  platform: 'node',
  sourcemap: true,
  clean: true,
  dts: false,
})
