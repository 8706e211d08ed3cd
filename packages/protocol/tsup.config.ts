import { defineConfig } from 'tsup'

export default defineConfig({
  entry: ['src/index.ts', 'src/codec/json.ts', 'src/codec/msgpack.ts', 'src/contract.ts'],
  format: ['esm'],
  target: 'es2023',
  platform: 'neutral',
  sourcemap: true,
  clean: true,
  dts: false,
})
