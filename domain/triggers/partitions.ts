/** Decides which daily partitions of a batch are due. Days are of UTC. */
import type { BatchInput, BatchOutput, BatchSpec } from '../model/batch-spec.ts'

/** A batch of a model file. Its texts hold `{date}`. */
export interface BatchDefinition {
  name: string
  input: BatchInput
  output: BatchOutput
  key: string[]
  partition: DailyPartition
}

export interface DailyPartition {
  /** The first day, YYYY-MM-DD. */
  from: string
  /** How long after its end a day is complete. */
  afterMs: number
  /** The file whose presence says that a day is complete; the input when absent. */
  ready?: string
}

export type PartitionReason = 'due' | 'withdrawn' | 'asked'

const dayMs = 86_400_000
/** Older days are no longer looked for. */
export const maxDays = 400

/** The days that have ended, the oldest first. */
export function endedDays({ from, afterMs }: DailyPartition, nowMs: number): string[] {
  // The day before the one that contains this moment has ended.
  const last = Math.floor((nowMs - afterMs) / dayMs) - 1
  const first = Math.max(startOf(from) / dayMs, last - maxDays + 1)
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, place) => dayText((first + place) * dayMs))
}

/** Whether a day has ended. */
export const isEnded = (day: string, nowMs: number): boolean => startOf(day) + dayMs <= nowMs

const startOf = (day: string): number => Date.parse(`${day}T00:00:00Z`)
const dayText = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

/** Whether the text is a day that exists. */
export const isDay = (text: unknown): text is string =>
  typeof text === 'string' &&
  /^\d{4}-\d{2}-\d{2}$/.test(text) &&
  !Number.isNaN(startOf(text)) &&
  dayText(startOf(text)) === text

/** The name of one attempt, so that no second batch can stand for it. */
const partitionBatchId = (of: { model: string; batch: string; day: string; attempt: number }): string =>
  `bat_${of.model}_${of.batch}_${of.day}_${of.attempt}`

const dated = (text: string, day: string): string => text.replaceAll('{date}', day)

/** The batch of one day. */
export function batchOfDay(
  model: string,
  { input, output, key }: Pick<BatchDefinition, 'input' | 'output' | 'key'>,
  day: string,
): BatchSpec {
  return {
    model,
    input:
      input.kind === 'file'
        ? { kind: 'file', path: dated(input.path, day) }
        : { kind: 'sql', query: dated(input.query, day) },
    output: output.kind === 'file' ? { kind: 'file', path: dated(output.path, day) } : output,
    key: [...key],
  }
}

/** The file that a day waits for; undefined for a query without a marker. */
export function markerOf({ input, partition }: BatchDefinition, day: string): string | undefined {
  const marker = partition.ready ?? (input.kind === 'file' ? input.path : undefined)
  return marker === undefined ? undefined : dated(marker, day)
}

/** One attempt with the request that its batch must have. */
export function partitionOf(of: {
  model: string
  batch: BatchDefinition
  day: string
  attempt: number
  reason: PartitionReason
}) {
  const { model, batch, day, attempt, reason } = of
  const id = partitionBatchId({ model, batch: batch.name, day, attempt })
  const request = { ...batchOfDay(model, batch, day), id, requestedBy: `trigger/${model}/${batch.name}` }
  return { model, batch: batch.name, partition: day, attempt, id, request, reason }
}
