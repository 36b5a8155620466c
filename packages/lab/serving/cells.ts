/** Defines the benchmark cells, the peers and the required ratios. */
import type { Loaded } from './measure.ts'
import type { NetName } from './networks.ts'

export interface ServingCell {
  model: NetName
  rows: 1 | 100
  /** Connections, one request at a time each. */
  c: number
}

export interface Measurement extends ServingCell, Loaded {
  peer: string
  /** Run and rotation; only measurements of one rotation are compared. */
  slice: string
  round: number
  /** Resident memory of the server's processes, in MB. */
  rss: number
}

/** Further figures of a run. */
export interface CellSlice {
  slice: string
  machine: string
  node: string
  generator: string
  seconds: number
  loadBefore: number
  versions: Record<string, string>
  /** Milliseconds from start to ready with a cached artifact, and the memory then, in MB. */
  coldMs: number
  restRss: number
  /** Rows of the prediction log by state. */
  logged: Record<string, number>
}

export const product = 'tenure'

export const cells: readonly ServingCell[] = (['iris', 'wide'] as const).flatMap((model) =>
  ([1, 100] as const).flatMap((rows) => [1, 16, 64, 256].map((c) => ({ model, rows, c }))),
)

/** The four cells with a required ratio, in the order of the lists below. */
export const barCells: readonly ServingCell[] = [
  { model: 'iris', rows: 1, c: 64 },
  { model: 'iris', rows: 100, c: 16 },
  { model: 'wide', rows: 1, c: 64 },
  { model: 'wide', rows: 100, c: 16 },
]

/** Minimum ratio of requests per second to each group of peers; the best setting of a server counts. */
export const bars: readonly { peers: readonly string[]; least: readonly number[] }[] = [
  { peers: ['hono-echo'], least: [0.75, 0.8, 0.65, 1.6] },
  { peers: ['fastapi-ort'], least: [5, 4, 4, 2.8] },
  { peers: ['fastapi'], least: [10, 6.5, 7.5, 3.5] },
  { peers: ['mlserver', 'mlserver-w0'], least: [16, 7.5, 12, 2.8] },
  { peers: ['kserve'], least: [20, 11, 17, 5] },
  { peers: ['litserve', 'litserve-batch'], least: [20, 11, 17, 5] },
  { peers: ['bentoml', 'bentoml-batch'], least: [36, 20, 34, 9] },
  { peers: ['mlflow'], least: [36, 20, 34, 9] },
]

/** Maximum ratio of the p99 latency to that of the Hono echo. */
export const slowest: readonly number[] = [2, 2.5, 2, 1.5]

export const cellText = ({ model, rows, c }: ServingCell): string => `${model}:${rows}:${c}`

/** Parses `bars` (the four cells with a required ratio), a list such as `iris:1:64,wide:100:16`, or an empty text for all. */
export function cellsOf(text: string): readonly ServingCell[] {
  if (text === '') return cells
  if (text === 'bars') return barCells
  return text.split(',').map((name) => {
    const cell = cells.find((each) => cellText(each) === name)
    if (cell === undefined) throw new Error(`there is no cell ${name}; one is ${cellText(barCells[0]!)}`)
    return cell
  })
}
