/** Decides which partitions of a batch are due: days in UTC, and those that its triggers request. */
import type { BatchInput, BatchOutput, BatchSpec } from '../model/batch-spec.ts'
import type { StartSchedule, TriggerDefinition, TriggerFiring } from './trigger.ts'

/** A batch of a model file. Its paths and query contain `{date}` and names of parameters. */
export interface BatchDefinition {
  name: string
  input: BatchInput
  output: BatchOutput
  key: string[]
  /** About how many rows enter the prediction log. */
  log?: number
  /** Absent: each firing scores all rows. */
  partition?: DailyPartition
  /** When days are scored. Without a schedule and triggers, each day is scored when it is complete. */
  schedule?: StartSchedule
  /** Their names begin with the name of the batch. */
  triggers?: TriggerDefinition[]
}

/** The name of a trigger of a batch in lists, commands and rows. */
export const batchTriggerName = (batch: string, trigger: string): string => `${batch}.${trigger}`
export const batchScheduleName = (batch: string): string => batchTriggerName(batch, 'schedule')

/** Whether only triggers and a schedule start it. */
export const isFired = ({ schedule, triggers }: Pick<BatchDefinition, 'schedule' | 'triggers'>): boolean =>
  schedule !== undefined || triggers !== undefined

export interface DailyPartition {
  /** The first day, YYYY-MM-DD. */
  from: string
  /** A day is complete this long after its end; negative: before it. */
  afterMs: number
  /** The file whose existence marks a day as complete. Default: the input. */
  ready?: string
}

export type PartitionReason = 'due' | 'withdrawn' | 'asked' | 'fired'

const dayMs = 86_400_000
/** Older days are not checked any more. */
export const maxDays = 400

/** The days that are complete by their time, the oldest first. */
export function endedDays({ from, afterMs }: DailyPartition, nowMs: number): string[] {
  // The day before the one that contains this moment has ended.
  const last = Math.floor((nowMs - afterMs) / dayMs) - 1
  const first = Math.max(startOf(from) / dayMs, last - maxDays + 1)
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, place) => dayText((first + place) * dayMs))
}

/** Whether a day has ended, or may be scored before its end. */
export const isEnded = (day: string, { afterMs }: DailyPartition, nowMs: number): boolean =>
  startOf(day) + dayMs + Math.min(0, afterMs) <= nowMs

const startOf = (day: string): number => Date.parse(`${day}T00:00:00Z`)
const dayText = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

/** Whether the text is a day that exists. */
export const isDay = (text: unknown): text is string =>
  typeof text === 'string' &&
  /^\d{4}-\d{2}-\d{2}$/.test(text) &&
  !Number.isNaN(startOf(text)) &&
  dayText(startOf(text)) === text

/** The values of the placeholders in paths and queries: the day, and parameters of the firing. */
export type PartitionValues = Readonly<Record<string, string>>

const placeholder = /\{([A-Za-z_]\w*)\}/g

const filled = (text: string, values: PartitionValues): string =>
  text.replaceAll(placeholder, (whole, name: string) => values[name] ?? whole)

/** The path or the query of the input, and the path of the output file. */
export const textsOfBatch = ({ input, output }: Pick<BatchDefinition, 'input' | 'output'>): string[] => [
  input.kind === 'file' ? input.path : input.query,
  ...(output.kind === 'file' ? [output.path] : []),
]

/** The names of the placeholders. */
export const placeholdersOf = (batch: Pick<BatchDefinition, 'input' | 'output'>): string[] => [
  ...new Set(textsOfBatch(batch).flatMap((text) => [...text.matchAll(placeholder)].map(([, name]) => name!))),
]

/** The batch of one day, or of one firing. */
export function batchWith(
  model: string,
  { input, output, key, log }: Pick<BatchDefinition, 'input' | 'output' | 'key' | 'log'>,
  values: PartitionValues,
): BatchSpec {
  return {
    model,
    input:
      input.kind === 'file'
        ? { kind: 'file', path: filled(input.path, values) }
        : { ...input, query: filled(input.query, values) },
    output: output.kind === 'file' ? { kind: 'file', path: filled(output.path, values) } : output,
    key: [...key],
    ...(log !== undefined && { log }),
  }
}

/** The file that marks a day as complete; undefined for a query without one. */
export function markerOf({ input, partition }: BatchDefinition, day: string): string | undefined {
  const marker = partition?.ready ?? (input.kind === 'file' ? input.path : undefined)
  return marker === undefined ? undefined : filled(marker, { date: day })
}

/** The values that a firing requests, in the order of their placeholders, the day first. */
export function valuesOfFiring(
  batch: BatchDefinition,
  { evidence, firedAt }: Pick<FiredBatch, 'evidence' | 'firedAt'>,
): PartitionValues {
  const known: Record<string, unknown> = { ...evidence, date: firedAt.slice(0, 10) }
  const names = placeholdersOf(batch).toSorted()
  return Object.fromEntries(names.map((name) => [name, String(known[name])]))
}

/** A firing with its time, ISO 8601. */
export type FiredBatch = TriggerFiring & { firedAt: string }

/** The day, the parameters or both. Attempts at the same partition replace each other. */
export function partitionNameOf({ date, ...values }: PartitionValues): string {
  const parameters = Object.entries(values).map(([name, value]) => `${name}=${value}`)
  return [...(date === undefined ? [] : [date]), ...parameters].join(',') || 'all'
}

/**
 * One attempt with the request that its batch must have. The attempt number is part of the key, so that an attempt has only one batch.
 */
export function partitionOf(of: {
  model: string
  batch: BatchDefinition
  values: PartitionValues
  attempt: number
  reason: PartitionReason
  /** The id of the firing that requested it. */
  firing?: string
}) {
  const { model, batch, values, attempt, reason, firing } = of
  const partition = partitionNameOf(values)
  const id = attemptId({ model, batch: batch.name, partition, attempt })
  const request = { ...batchWith(model, batch, values), id, requestedBy: `trigger/${model}/${batch.name}` }
  return { model, batch: batch.name, partition, attempt, id, request, reason, firing }
}

const attemptId = (of: { model: string; batch: string; partition: string; attempt: number }): string =>
  `bat_${of.model}_${of.batch}_${of.partition}_${of.attempt}`

/** The next attempt at a partition whose version was rolled back; for a firing, with the same paths and query. */
export function withdrawnPartition(
  model: string,
  batch: BatchDefinition,
  { partition, attempt, request }: { partition: string; attempt: number; request: Record<string, unknown> },
) {
  const again = { attempt: attempt + 1, reason: 'withdrawn' } as const
  if (batch.partition !== undefined)
    return partitionOf({ model, batch, values: { date: partition }, ...again })
  const id = attemptId({ model, batch: batch.name, partition, attempt: again.attempt })
  return { model, batch: batch.name, partition, id, request: { ...request, id }, ...again }
}
