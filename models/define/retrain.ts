/** When a model is retrained by itself. Drift and lost quality ask for a retraining of their own; this is the calendar. */
import type { RetrainSchedule } from '../../domain/model-definition.ts'
import { durationAt, type Duration } from './duration.ts'
import type { IssueCollector } from './issues.ts'

export type RetrainSpec = ({ every: Duration } | { cron: string }) & {
  /** A start missed by no more than this is made up for; 1 hour when absent. */
  catchUp?: Duration
}

export function compileRetrain(report: IssueCollector, spec: RetrainSpec): RetrainSchedule {
  const catchUpMs = durationAt(report, 'retrain.catchUp', spec.catchUp ?? '1 h')
  if ('every' in spec) return { everyMs: durationAt(report, 'retrain.every', spec.every), catchUpMs }
  if (!/^[^\s]+(\s+[^\s]+){4}$/.test(spec.cron?.trim() ?? ''))
    report('retrain.cron', `five fields are wanted, as in '0 3 * * 1', not ${JSON.stringify(spec.cron)}`)
  return { cron: spec.cron, catchUpMs }
}
