/** What the name of a counter's map begins with; the counter's own name follows. Such a map is of kind `pn`. */
export const COUNTER_MAP_PREFIX = 'counter:'

/** Counts by node id, each a whole number from 0 on. */
export type Counts = Readonly<Record<string, number>>

/** What nodes added (`p`) and took away (`n`). A node that is absent from one of them counted nothing there. */
export interface CounterCounts {
  /** What each node added in all, by node id. */
  readonly p: Counts
  /** What each node took away in all, by node id. */
  readonly n: Counts
}

/** The same in either of the two shapes that clients send, or in both. */
export type CounterState = Partial<FullCounterState>

/** The same as a server sends it: in both shapes at once. */
export interface FullCounterState extends CounterCounts {
  /** The same as `p`. */
  readonly positive: Counts
  /** The same as `n`. */
  readonly negative: Counts
}

/** C→S. Subscribes to a counter and asks for its state. */
export interface CounterRequest {
  readonly type: 'COUNTER_REQUEST'
  readonly payload: {
    /** The counter's name. */
    readonly name: string
  }
}

/** S→C. Answers COUNTER_REQUEST. A long state comes in parts, which are to be merged; the last one has no `more`. */
export interface CounterResponse {
  readonly type: 'COUNTER_RESPONSE'
  readonly payload: {
    /** The counter's name. */
    readonly name: string
    /** This part of its counts. */
    readonly state: FullCounterState
    /** Another part follows by itself. Default false. */
    readonly more?: boolean
  }
}

/**
 * C→S. What the client knows of a counter. The rows in it are merged: of each count the greater stays. A reader of
 * messages hands the state out in the first shape.
 */
export interface CounterSync<State = CounterState> {
  readonly type: 'COUNTER_SYNC'
  readonly payload: {
    /** The counter's name. */
    readonly name: string
    /** The counts that the client knows: in `p` and `n`, in `positive` and `negative`, or in both. */
    readonly state: State
  }
}

/** S→C. Rows that changed, as they are now; to whoever sent a COUNTER_SYNC, the rows that it named. */
export interface CounterUpdate {
  readonly type: 'COUNTER_UPDATE'
  readonly payload: {
    /** The counter's name. */
    readonly name: string
    /** The counts of the nodes that changed. */
    readonly state: FullCounterState
  }
}
