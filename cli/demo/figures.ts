/** Computes the figures of the demo from Postgres and from client responses. */
import { metricVerdictText } from '../../domain/evaluation/verdict-words.ts'
import { rollbackTime } from '../../domain/release/state.ts'
import type { Evaluation } from '../../store/training/evaluations.ts'
import type { Release } from '../../store/release/releases.ts'
import { tableOf } from '../terminal.ts'
import { lapseText } from './narrator.ts'
import { countText } from '../../api/charts/figures.ts'
import type { DemoWorld } from './world.ts'

export interface RollbackFigures {
  /** The number of requests that the candidate failed. */
  harmed: number
  /** The number of requests that callers had sent to the canary at the verdict. It may count fewer, because replicas report in intervals. */
  canaryRequests: number
  /** Time from the first canary routing to the verdict. */
  noticedMs: number
  /** Time until every live replica had acknowledged the rollback, as the page of the release counts it. */
  dropped: ReturnType<typeof rollbackTime>
  /** Time from the verdict to the last response of the candidate; negative if the response came before. */
  lastAnswerMs: number
}

/** Returns the figures as clients observed them. Clients, replicas and database share one clock here. */
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
    dropped: rollbackTime(rollbackResult),
    lastAnswerMs: Math.max(0, ...answeredMs) - decidedMs,
  }
}

/** Compares challenger and champion on the same rows, by metric. */
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
      metricVerdictText(row, report.policy),
    ])
  const champion = baselineVersion ?? 'no champion yet'
  return tableOf(['metric', champion, 'challenger', 'gain (interval)', 'floor', 'verdict'], rows)
}

/** Formats `0.6849 (0.6674)`: the challenger, and in brackets the champion on the same rows. */
export function metricOf({ report }: Evaluation, name: string): string {
  const row = report.metrics.find(({ metric }) => metric === name)
  if (row === undefined) return '–'
  return row.champion === null
    ? number(row.challenger)
    : `${number(row.challenger)} (${number(row.champion)})`
}

export function rollbackLines(figures: RollbackFigures): string[] {
  return [
    `Failed requests       ${countText(figures.harmed)}`,
    `Detected after        ${lapseText(figures.noticedMs)}, ${countText(figures.canaryRequests)} requests sent to the canary`,
    `Rolled back in        ${lapseText(figures.dropped.ms)}, counted from the ${figures.dropped.from}`,
    `Last response served  ${figures.lastAnswerMs <= 0 ? 'before the verdict' : `${lapseText(figures.lastAnswerMs)} after the verdict`}`,
  ]
}

const number = (value: number | null): string => (value === null ? '–' : value.toFixed(4))
const signed = (value: number): string => `${value >= 0 ? '+' : '−'}${Math.abs(value).toFixed(4)}`
