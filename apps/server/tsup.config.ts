import { defineConfig } from 'tsup'

export default defineConfig({
  entry: ['src/cli.ts'],
  format: ['esm'],
  target: 'es2023',
  platform: 'node',
  splitting: true,
  sourcemap: true,
  clean: true,
  dts: false,
})
