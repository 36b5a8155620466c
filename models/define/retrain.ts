/** Compiles the `retrain` of a model file: the schedule of retrainings. Drift and lost quality start others. */
import type { RetrainSchedule } from '../../domain/model-definition.ts'
import { durationAt, type Duration } from './duration.ts'
import { reportUnknown } from './fields.ts'
import type { IssueCollector } from './issues.ts'

export type RetrainSpec = ({ every: Duration } | { cron: string }) & {
  /** A missed start is made up for within this time; 1 hour when absent. */
  catchUp?: Duration
}

export function compileRetrain(report: IssueCollector, spec: RetrainSpec): RetrainSchedule {
  if (typeof spec !== 'object')
    throw new TypeError(
      `{ every: '1 week' } or { cron: '0 3 * * 1' } is required, not ${JSON.stringify(spec)}`,
    )
  reportUnknown(report, 'retrain', spec, ['every', 'cron', 'catchUp'])
  const catchUpMs = durationAt(report, 'retrain.catchUp', spec.catchUp ?? '1 h')
  if ('every' in spec) return { everyMs: durationAt(report, 'retrain.every', spec.every), catchUpMs }
  if (!/^[^\s]+(\s+[^\s]+){4}$/.test(spec.cron?.trim() ?? ''))
    report('retrain.cron', `five fields are required, as in '0 3 * * 1', not ${JSON.stringify(spec.cron)}`)
  return { cron: spec.cron, catchUpMs }
}
