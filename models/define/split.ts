/** Defines splits into training and test rows. The snapshot stores the split, so that both models are tested on the same rows. */
import type { SplitDefinition } from '../../domain/model-definition.ts'
import { fieldNames, reportUnknown } from './fields.ts'
import { durationAt, durationsIn, type Duration } from './duration.ts'
import type { IssueCollector } from './issues.ts'

export type SplitSpec =
  | { kind: 'hash'; test: number; validation?: number; stratified: boolean }
  | {
      kind: 'time'
      train: Duration
      test: Duration
      validation?: Duration
      matured?: Duration
      maxRows?: { train?: number; test?: number }
    }

interface HashOptions {
  /** The share of the test rows, between 0 and 1. */
  test: number
  /** The share of the validation rows, by which `fit` stops early and a sweep selects. The test rows stay the same. */
  validation?: number
}

/** Selects the same share of each class by a hash of the row. */
export const stratified = (options: HashOptions): SplitSpec => ({
  ...options,
  kind: 'hash',
  stratified: true,
})

/** Selects a share of the rows by a hash of the row. A row stays on its side as rows are added. */
export const random = (options: HashOptions): SplitSpec => ({
  ...options,
  kind: 'hash',
  stratified: false,
})

/**
 * Tests on the latest known rows and trains on the rows before them. Without `matured`, a training row is one whose label was known when the
 * test period began. With it, one whose label is known now: the rows of both periods are at least that old.
 */
export const byTime = (options: {
  /**
   * The period of the training rows. It contains its end, where the test period begins, and not its start. Its rows begin `train` + `test` +
   * `matured` before the snapshot, and later where the source does.
   */
  train: Duration
  /** The latest period: the test rows. It contains its end and not its start. */
  test: Duration
  /** The last part of the training period: the validation rows, by which `fit` stops early and a sweep selects. */
  validation?: Duration
  /**
   * The minimum age of an event at the snapshot: younger events have only early labels, which are a biased sample. The test period ends so
   * much earlier. It adds to the `knownAt` of a row and does not replace it.
   */
  matured?: Duration
  /** The maximum number of rows of each part, sampled by a hash of the row. */
  maxRows?: {
    /** Of the training rows. Default: no limit. */
    train?: number
    /** Of the test rows. Default: no limit. */
    test?: number
  }
}): SplitSpec => ({ kind: 'time', ...options })

const timeFields = fieldNames<Omit<Extract<SplitSpec, { kind: 'time' }>, 'kind'>>({
  train: 0,
  test: 0,
  validation: 0,
  matured: 0,
  maxRows: 0,
})

export function compileSplit(report: IssueCollector, spec: SplitSpec, timed: boolean): SplitDefinition {
  if (spec.kind === 'hash') {
    const { kind, test, validation, stratified: byClass, ...more } = spec
    reportUnknown(report, 'split', more, ['test', 'validation'])
    if (!(spec.test > 0 && spec.test < 1))
      report('split.test', `a share between 0 and 1 is required, not ${spec.test}`)
    if (validation !== undefined && !(validation > 0 && test + validation < 1))
      report('split.validation', `a share above 0 that leaves training rows is required, not ${validation}`)
    return { kind, test, stratified: byClass, validation }
  }
  const { kind: _, ...options } = spec
  reportUnknown(report, 'split', options, timeFields)
  if (!timed) report('split', 'byTime needs the eventTime of the source')
  const { train, test } = spec.maxRows ?? {}
  for (const [part, rows] of Object.entries({ train, test }))
    if (rows !== undefined && !(Number.isInteger(rows) && rows > 0))
      report(`split.maxRows.${part}`, `a whole number above 0 is required, not ${rows}`)
  const trainMs = durationAt(report, 'split.train', spec.train)
  const validationMs =
    spec.validation === undefined ? undefined : durationAt(report, 'split.validation', spec.validation)
  if (validationMs !== undefined && validationMs >= trainMs)
    report('split.validation', `must be shorter than the training period, not ${spec.validation}`)
  return {
    kind: 'time',
    trainMs,
    validationMs,
    testMs: durationAt(report, 'split.test', spec.test),
    maturedMs: durationsIn(report, 'split')('matured', spec.matured, 0),
    maxTrain: train,
    maxTest: test,
  }
}
