/**
 * Compiles the `retrain` of a model file: the schedule of retrainings and their triggers. Drift and lost quality start further retrainings.
 */
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import type { StartSchedule, TriggerDefinition } from '../../../domain/triggers/trigger.ts'
import { durationAt, type Duration } from '../duration.ts'
import { reportUnknown } from '../fields.ts'
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

export function compileRetrain(
  report: IssueCollector,
  spec: RetrainSpec | readonly (RetrainSpec | TriggerSpec)[],
): Pick<ModelDefinition, 'retrain' | 'triggers'> {
  const { schedule, triggers } = compileStarts(report, 'retrain', isList(spec) ? spec : [spec])
  return { retrain: schedule, triggers }
}

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
    throw new TypeError(
      `{ every: '1 week' } or { cron: '0 3 * * 1' } is required, not ${JSON.stringify(spec)}`,
    )
  reportUnknown(report, place, spec, ['every', 'cron', 'catchUp'])
  const catchUpMs = durationAt(report, `${place}.catchUp`, spec.catchUp ?? '1 h')
  if ('every' in spec) return { everyMs: durationAt(report, `${place}.every`, spec.every), catchUpMs }
  const issue = issueOfCron(spec.cron)
  if (issue !== undefined) report(`${place}.cron`, issue)
  return { cron: spec.cron, catchUpMs }
}
