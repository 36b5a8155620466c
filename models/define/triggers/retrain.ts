/**
 * Compiles the `retrain` of a model file: the schedule of retrainings, their triggers, and what follows a promotion. Drift and lost quality start
 * further retrainings.
 */
import {
  compressionMethods,
  issueOfWish,
  type CompressionMethod,
  type CompressionWish,
} from '../../../domain/model/compression.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import type { StartSchedule, TriggerDefinition } from '../../../domain/triggers/trigger.ts'
import { durationAt, type Duration } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'
import { issueOfCron } from './cron.ts'
import { compileTrigger, type TriggerSpec } from './triggers.ts'

export type RetrainSpec = ({ every: Duration } | { cron: string }) & {
  /** A missed start is caught up within this time. Default: 1 hour. */
  catchUp?: Duration
}

/** Defines a schedule in a list of triggers: `cron('0 3 * * 1')`, in UTC. */
export const cron = (text: string, options: { catchUp?: Duration } = {}): RetrainSpec => ({
  cron: text,
  ...options,
})

export interface CompressOptions {
  /** The mean distance of two answers that is too large, above 0 and below 1. Default: what follows from the margin of the primary metric. */
  epsilon?: number
  /** How many times smaller or faster the version must be. Default: 1.2. */
  times?: number
  /** For `fewer-trees`: how many stay. Default: the fewest whose answers to training rows differ by half of ε on average. */
  trees?: number
}

/** What follows the promotion of a version. */
export interface ThenSpec {
  then: CompressionWish
}

/** Makes a smaller version of each version that is promoted: `{ then: compress('int8', { epsilon: 0.01 }) }` ([how](../how-to/compress.md)). */
export const compress = (to: CompressionMethod, options: CompressOptions = {}): CompressionWish => ({
  ...options,
  to,
})

export type RetrainEntry = RetrainSpec | TriggerSpec | ThenSpec

export function compileRetrain(
  report: IssueCollector,
  spec: RetrainEntry | readonly RetrainEntry[],
): Pick<ModelDefinition, 'retrain' | 'triggers'> {
  const entries = (isList(spec) ? spec : [spec]).map(splitEntry)
  const { schedule, triggers = [] } = compileStarts(
    report,
    'retrain',
    entries.flatMap(({ start }) => (start === undefined ? [] : [start])),
  )
  const wishes = entries.flatMap(({ wish }) => (wish === undefined ? [] : [wish]))
  if (wishes.length > 1) report('retrain.then', `at most one compress(…) is allowed, not ${wishes.length}`)
  if (wishes.length > 0 && triggers.some(({ name }) => name === compressTrigger))
    report('retrain.then', `a trigger is named ${compressTrigger}: give it another name`)
  const all = [...triggers, ...wishes.map((wish) => compileThen(report, wish))]
  return { retrain: schedule, triggers: all.length === 0 ? undefined : all }
}

/** An entry may have both: `{ every: '1 week', then: compress('int8') }`. */
function splitEntry(entry: RetrainEntry): { start?: RetrainSpec | TriggerSpec; wish?: CompressionWish } {
  if (!(typeof entry === 'object' && entry !== null && 'then' in entry)) return { start: entry }
  const { then: wish, ...others } = entry
  return { wish, start: Object.keys(others).length === 0 ? undefined : (others as RetrainSpec) }
}

const compressTrigger = 'compress'

function compileThen(report: IssueCollector, wish: CompressionWish): TriggerDefinition {
  if (typeof wish !== 'object' || !compressionMethods.some((each) => each === wish.to))
    throw new Error(
      `then needs compress(…) with one of ${compressionMethods.join(', ')}, not ${JSON.stringify(wish)}`,
    )
  reportUnknown(report, 'retrain.then', wish, compressFields)
  const issue = issueOfWish(wish)
  if (issue !== undefined) report('retrain.then', issue)
  return { name: compressTrigger, kind: 'promotion', everyMs: lookMs, compression: wish }
}

const lookMs = 30_000
const compressFields = fieldNames<CompressionWish>({ to: 0, trees: 0, epsilon: 0, times: 0 })

/** Compiles what starts a retraining or a batch: at most one schedule and any number of triggers. */
export function compileStarts(
  report: IssueCollector,
  place: string,
  spec: readonly (RetrainSpec | TriggerSpec)[],
): { schedule?: StartSchedule; triggers?: TriggerDefinition[] } {
  const isTrigger = (each: RetrainSpec | TriggerSpec): each is TriggerSpec =>
    typeof each === 'object' && 'kind' in each
  const schedules = spec.filter((each): each is RetrainSpec => !isTrigger(each))
  if (schedules.length > 1)
    report(place, `at most one schedule is allowed, not ${schedules.length}: join them in one cron(…)`)
  const [schedule] = schedules.map((each) => compileSchedule(report, place, each))
  const triggers = spec.filter(isTrigger).map((each) => compileTrigger(report, place, each))
  const names = triggers.map(({ name }) => name)
  for (const name of new Set(names.filter((each, place) => names.indexOf(each) < place)))
    report(place, `two triggers are named ${name}: give one of them a name of its own, { name: '…' }`)
  return { schedule, triggers: triggers.length === 0 ? undefined : triggers }
}

const isList = <T>(given: T | readonly T[]): given is readonly T[] => Array.isArray(given)

function compileSchedule(report: IssueCollector, place: string, spec: RetrainSpec): StartSchedule {
  if (typeof spec !== 'object')
    throw new Error(`{ every: '1 week' } or { cron: '0 3 * * 1' } is required, not ${JSON.stringify(spec)}`)
  reportUnknown(report, place, spec, ['every', 'cron', 'catchUp'])
  const catchUpMs = durationAt(report, `${place}.catchUp`, spec.catchUp ?? '1 h')
  if ('every' in spec) return { everyMs: durationAt(report, `${place}.every`, spec.every), catchUpMs }
  const issue = issueOfCron(spec.cron)
  if (issue !== undefined) report(`${place}.cron`, issue)
  return { cron: spec.cron, catchUpMs }
}
