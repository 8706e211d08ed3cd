import { isStamp, type Stamp } from './hlc.ts'

/** The text form `millis:counter:nodeId`, as existing clients write it. */
export function formatStamp(stamp: Stamp): string {
  return `${stamp.millis}:${stamp.counter}:${stamp.nodeId}`
}

/** Reads the text form back; undefined where it is not exactly what `formatStamp` writes. */
export function parseStamp(text: string): Stamp | undefined {
  const match = /^(0|[1-9]\d{0,15}):(0|[1-9]\d{0,4}):([^:]*)$/.exec(text)
  if (match === null) return undefined
  const stamp = { millis: Number(match[1]), counter: Number(match[2]), nodeId: match[3] as string }
  return isStamp(stamp) ? stamp : undefined
}
