export interface Stamp { millis: number; counter: number; nodeId: string }
