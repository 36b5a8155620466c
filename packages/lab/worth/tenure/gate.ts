/** Judges a batch and a challenger as a retraining does: the expectations of the batch, then the offline gate against the champion. */
import { judgeGate, type GateReport } from '../../../../domain/evaluation/gate.ts'
import { predictAnswers } from '../../../../domain/evaluation/predict-answers.ts'
import { bestOf } from '../../../../domain/evaluation/anchor.ts'
import { defaultGatePolicy, type GatePolicy } from '../../../../domain/evaluation/policy.ts'
import type { Manifest } from '../../../../domain/model/manifest.ts'
import { snapshotColumns, type ModelDefinition } from '../../../../domain/model-definition.ts'
import { expectedOfChampion } from '../../../../domain/validation/champion-expectations.ts'
import type { BatchCell, BatchTable, Expectation } from '../../../../domain/validation/expectations.ts'
import { impliedExpectations, judgeValidation } from '../../../../domain/validation/validate.ts'
import type { Trained } from '../contenders.ts'
import { playDayMs } from '../incidents.ts'
import type { YearStream, StreamRow } from '../streams.ts'
import { featuresOf, type PlayedSnapshot, type PlayedVersion } from '../versions.ts'

const { eventAt, key, label } = snapshotColumns

export const yesNoOutput = ({ threshold }: YearStream) =>
  ({ kind: 'probability', positive: 'yes', threshold }) as const

export interface BlockedFor {
  /** The column. */
  subject: string
  message: string
  /** Where the other rows are sound. */
  period?: { fromMs: number; toMs: number }
}

/** The failed expectations that block the batch; empty when it may be trained on. */
export function blockedBy(
  stream: YearStream,
  { train, test, asOfMs }: PlayedSnapshot,
  { champion, earlierRows }: { champion: PlayedVersion; earlierRows: readonly number[] },
): BlockedFor[] {
  const { features } = stream
  const rows = [...train, ...test]
  const column = (of: (row: StreamRow) => BatchCell): BatchCell[] => rows.map(of)
  const table: BatchTable = {
    rows: rows.length,
    columns: {
      ...Object.fromEntries(
        Object.keys(features).map((name) => [name, column((row) => row.features[name] ?? null)]),
      ),
      [label]: column(({ told }) => told),
      [eventAt]: column(({ atMs }) => atMs),
      [key]: column(({ id }) => id),
    },
  }
  const definition = { features, label: { output: yesNoOutput(stream) } } as unknown as ModelDefinition
  const before = { features, profile: champion.profile } as Pick<Manifest, 'features' | 'profile'>
  const declared: Expectation[] = [
    { check: 'unique', columns: [key], severity: 'warn', mostly: 0.999 },
    { check: 'rows_as_usual', minRatio: 0.5, maxRatio: 2, severity: 'block' },
  ]
  const { results } = judgeValidation(
    [...impliedExpectations(definition), ...expectedOfChampion(definition, before), ...declared],
    table,
    { asOfMs, eventAt, earlierRows },
  )
  return results
    .filter(({ passed, severity }) => !passed && severity === 'block')
    .map(({ check, subject, message, period }) => ({
      subject,
      message: `${check} of ${subject}: ${message}`,
      period,
    }))
}

export const gatePolicyOf = ({ threshold }: YearStream): GatePolicy => ({
  ...defaultGatePolicy('binary'),
  threshold,
  guards: ['brier'],
  floors: { auc: 0.55 },
  slices: { ...defaultGatePolicy('binary').slices, metric: 'auc' },
})

export function judgeChallenger(
  stream: YearStream,
  { snapshot: { test }, version }: Trained,
  { champion, anchors }: { champion: PlayedVersion; anchors: readonly PlayedVersion[] },
): GateReport {
  const policy = gatePolicyOf(stream)
  const rows = featuresOf(test)
  const y = test.map(({ told }) => told)
  const ask = (each: PlayedVersion) => ({ rows: rows.length, width: 1, values: each.answer(rows) })
  const output = yesNoOutput(stream)
  const slices = stream.slices.map(({ name, holds }) => ({
    name,
    rows: rows.flatMap((row, place) => (holds(row) ? [place] : [])),
  }))
  const released = anchors.map((each) => ({ version: each.id, answers: ask(each) }))
  const report = judgeGate(
    {
      y,
      challenger: ask(version),
      champion: ask(champion),
      anchor: bestOf(released, y, policy)?.answers ?? null,
      slices,
    },
    policy,
  )
  return {
    ...report,
    answers: predictAnswers({
      y,
      challenger: { answers: ask(version), output },
      champion: { answers: ask(champion), output, profile: champion.profile },
      shared: output,
      days: test.map(({ atMs }) => Math.floor(atMs / playDayMs(stream))),
      slices,
    }),
  }
}
