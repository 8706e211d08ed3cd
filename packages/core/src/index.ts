export type { Stamp } from './clock/hlc.ts'
export const placeholder: number = 1
