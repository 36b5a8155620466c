/** Defines the triggers of a model file: the events that start a retraining or a batch, and the position of each trigger. */
import type { Compression, CompressionWish } from '../model/compression.ts'
import type { Features } from '../model/features.ts'
import type { OwnRetraining } from '../monitoring/retraining-triggers.ts'
import type { HyperparameterValues } from '../training/overrides.ts'

/** The times of a retraining or a batch. */
export interface StartSchedule {
  /** A cron expression, in UTC, or a period. */
  cron?: string
  everyMs?: number
  /** A start missed by no more than this is made up for. */
  catchUpMs: number
}

/** One trigger of a model file; its name is unique in the model. A trigger of a batch is named `<batch>.<name>`. */
export type TriggerDefinition = { name: string } & (
  | Sensor
  /** `POST /v1/models/:name/triggers/:trigger`, with these parameters. */
  | { kind: 'webhook'; parameters: Features }
)

/** A trigger that checks for new data at an interval. */
export type Sensor = { everyMs: number } & (
  | FileSensor
  | WatermarkSensor
  /** Completed runs of an upstream workflow, by its type or its id. */
  | WorkflowSensor
  | PromotionSensor
)

export interface FileSensor {
  kind: 'file'
  /** Relative to the project. */
  glob: string
}

export interface WatermarkSensor {
  kind: 'watermark'
  table: string
  column: string
  /** The name of a metric source of the kind `sql`. Default: Tenure's own database. */
  source?: string
}

export interface WorkflowSensor {
  kind: 'workflow'
  type?: string
  id?: string
  /** Default: the namespace of Tenure. */
  namespace?: string
}

/** Promotions of versions that are not compressed. Each is compressed, instead of a training. */
export interface PromotionSensor {
  kind: 'promotion'
  compression: CompressionWish
}

export const isSensor = (trigger: TriggerDefinition): trigger is TriggerDefinition & Sensor =>
  trigger.kind !== 'webhook'

/**
 * How often the sensors of a model are checked: as often as the most frequent one requires. A webhook is delivered at once, and by the
 * next check at the latest. A model without triggers and batches is not checked.
 */
export function lookEveryMs({
  triggers = [],
  batches = [],
}: {
  triggers?: readonly TriggerDefinition[] | undefined
  batches?: readonly { triggers?: readonly TriggerDefinition[] }[] | undefined
}): number | undefined {
  if (triggers.length + batches.length === 0) return undefined
  const all = [...triggers, ...batches.flatMap((batch) => batch.triggers ?? [])]
  return Math.min(defaultLookMs, ...all.filter(isSensor).map(({ everyMs }) => everyMs))
}

export const defaultLookMs = 60_000

/** The keys of the alerts for a trigger or batch that cannot be checked, and for a batch with failed days. */
export const triggerAlertKey = (model: string, trigger: string): string => `trigger/${model}/${trigger}`
export const partitionAlertKey = (model: string, batch: string): string => `partition/${model}/${batch}`

/** The event that starts the trigger, in words. */
export function waitsFor(trigger: TriggerDefinition): string {
  switch (trigger.kind) {
    case 'file':
      return `files ${trigger.glob}`
    case 'watermark':
      return `rows with a later ${trigger.table}.${trigger.column}${trigger.source === undefined ? '' : ` in ${trigger.source}`}`
    case 'workflow':
      return trigger.type === undefined
        ? `completed runs of the workflow ${trigger.id}`
        : `completed workflows of the type ${trigger.type}`
    case 'promotion':
      return `a promotion, to compress the version to ${trigger.compression.to}`
    case 'webhook': {
      const names = Object.keys(trigger.parameters)
      return `a request${names.length === 0 ? '' : ` with ${names.join(', ')}`}`
    }
  }
}

/** One firing of a trigger: the row that requests the retraining or the batch. */
export interface TriggerFiring {
  /** `fir_…` */
  id: string
  model: string
  trigger: string
  /** The batch to start. Absent: a retraining. */
  batch?: string
  /** Why the trigger fired. */
  message: string
  evidence: Record<string, number | string | null>
  /** The name of the key that called the webhook; absent for sensors. */
  requestedBy?: string
  overrides?: HyperparameterValues
  /** Makes a version smaller instead of training one. */
  compression?: Compression
}

/** The retraining that a firing requests. Its first activity compares the two. */
export const firedRetraining = (firing: TriggerFiring): FiredRetraining => {
  const { id, model, trigger, message, evidence, requestedBy, overrides } = firing
  return {
    model,
    reason: 'trigger',
    requestedBy: requestedBy ?? `trigger/${model}/${trigger}`,
    dedupeKey: id,
    evidence: { ...evidence, trigger, message },
    overrides,
  }
}

type FiredRetraining = OwnRetraining & { overrides?: HyperparameterValues }

/** Whether a watermark is later than another: numbers by value, ISO times and other texts by their order. */
export function isLaterMark(mark: string, before: string | null): boolean {
  if (before === null || !isFiniteMark(before)) return true
  if (isInteger(mark) && isInteger(before)) return BigInt(mark) > BigInt(before)
  const [one, other] = [Number(mark), Number(before)]
  return Number.isFinite(one) && Number.isFinite(other) ? one > other : mark > before
}

/** Whether a watermark can be exceeded; Postgres sorts `infinity` and `NaN` after all others. */
export const isFiniteMark = (mark: string): boolean => !/^(infinity|nan)$/i.test(mark)

const isInteger = (text: string): boolean => /^-?\d+$/.test(text)
