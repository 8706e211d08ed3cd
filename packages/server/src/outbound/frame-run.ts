import { joinBatch, type Frame } from '@syncline/protocol'

/** How much one MessagePack BATCH holds. */
export interface BatchLimits {
  /** Messages. */
  readonly maxBatch: number
  /** Bytes, unless one message is larger. */
  readonly maxBatchBytes: number
}

/** Messages that leave together. Those that go to many sockets are one run, joined at most once whoever gets it. */
export class FrameRun {
  readonly frames: readonly Frame[]
  readonly bytes: number
  #joined: readonly Frame[] | undefined

  constructor(frames: readonly Frame[]) {
    this.frames = frames
    this.bytes = frames.reduce((sum, frame) => sum + frame.length, 0)
  }

  /** The frames as they are written: the same list each time, so that its bytes can be kept. */
  joined(limits: BatchLimits): readonly Frame[] {
    return (this.#joined ??= joinRuns(this.frames, limits))
  }
}

/** MessagePack frames that follow one another become BATCH frames; JSON peers get each frame by itself. */
export function joinRuns(frames: readonly Frame[], { maxBatch, maxBatchBytes }: BatchLimits): readonly Frame[] {
  const joined: Frame[] = []
  let run: Uint8Array[] = []
  let bytes = 0
  const endRun = (): void => {
    if (run.length > 1) joined.push(joinBatch(run))
    else if (run.length === 1) joined.push(run[0] as Uint8Array)
    run = []
    bytes = 0
  }
  for (const frame of frames) {
    if (typeof frame === 'string') {
      endRun()
      joined.push(frame)
      continue
    }
    if (bytes + frame.length > maxBatchBytes) endRun()
    run.push(frame)
    bytes += frame.length
    if (run.length >= maxBatch) endRun()
  }
  endRun()
  return joined
}
