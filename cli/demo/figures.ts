/** The figures of the story, each from Postgres or from what the callers got, none from what was intended. */
import type { Evaluation } from '../../store/training/evaluations.ts'
import type { Release } from '../../store/release/releases.ts'
import { tableOf } from '../terminal.ts'
import { lapseText, whole } from './narrator.ts'
import type { DemoWorld } from './world.ts'

/** What it has cost to take a candidate back. */
export interface RollbackFigures {
  /** Requests of callers that the candidate left without a prediction. */
  harmed: number
  /** How many requests the candidate had been given when the judge decided. */
  canaryRequests: number
  /** From the stage's first routing to the verdict. */
  noticedMs: number
  /** From the verdict until every live replica had acknowledged the return. */
  droppedMs: number
  /** From the verdict to the last answer of the candidate that a caller got; negative when it came before. */
  lastAnswerMs: number
}

/** As the callers have seen it; this process, the replicas and the database share one clock. */
export function rollbackFiguresOf({ replay }: DemoWorld, { state }: Release): RollbackFigures | undefined {
  const { rollbackResult } = state
  if (rollbackResult === undefined) return undefined
  const decidedMs = rollbackResult.decidedMs ?? rollbackResult.orderedMs
  const startedMs = state.routings.find(({ stage }) => stage === 'canary')?.startedMs ?? decidedMs
  const served = (replay?.counts().served ?? []).filter(
    ({ version, arm }) => version === state.version && arm === 'canary',
  )
  const answeredMs = served.flatMap((each) => each.answeredMs)
  return {
    harmed: served.reduce((sum, each) => sum + each.harmed, 0),
    canaryRequests: answeredMs.filter((ms) => ms <= decidedMs).length,
    noticedMs: decidedMs - startedMs,
    droppedMs: rollbackResult.acknowledgedMs - decidedMs,
    lastAnswerMs: Math.max(0, ...answeredMs) - decidedMs,
  }
}

/** Challenger against champion on the same rows, metric by metric. */
export function comparisonOf({ report, baselineVersion }: Evaluation, metrics: readonly string[]): string {
  const rows = report.metrics
    .filter(({ metric }) => metrics.includes(metric))
    .map((row) => [
      row.metric,
      number(row.champion),
      number(row.challenger),
      row.delta === null || row.low === null || row.high === null
        ? '–'
        : `${signed(row.delta)} (${signed(row.low)} to ${signed(row.high)})`,
      row.floor === null ? '–' : `${row.floor} ${row.floorMet ? 'met' : 'missed'}`,
      row.verdict,
    ])
  const champion = baselineVersion ?? 'no champion yet'
  return tableOf(['metric', champion, 'challenger', 'gain (interval)', 'floor', 'verdict'], rows)
}

/** `0.6849 (0.6674)`: the challenger's and, in brackets, the champion's on the same rows. */
export function metricOf({ report }: Evaluation, name: string): string {
  const row = report.metrics.find(({ metric }) => metric === name)
  if (row === undefined) return '–'
  return row.champion === null
    ? number(row.challenger)
    : `${number(row.challenger)} (${number(row.champion)})`
}

export function rollbackLines(figures: RollbackFigures): string[] {
  return [
    `harmed requests                       ${whole(figures.harmed)}`,
    `noticed after                         ${whole(figures.canaryRequests)} canary requests, ${lapseText(figures.noticedMs)}`,
    `every replica had dropped it after    ${lapseText(figures.droppedMs)}`,
    `its last answer to a caller           ${figures.lastAnswerMs <= 0 ? 'before the verdict' : `${lapseText(figures.lastAnswerMs)} after the verdict`}`,
  ]
}

const number = (value: number | null): string => (value === null ? '–' : value.toFixed(4))
const signed = (value: number): string => `${value >= 0 ? '+' : '−'}${Math.abs(value).toFixed(4)}`
