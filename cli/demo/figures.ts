/** The figures of the story, each from Postgres or from what the callers got, none from what was intended. */
import { canaryTicks } from '../../domain/observation.ts'
import { findTicks } from '../../store/counters.ts'
import type { Evaluation } from '../../store/evaluations.ts'
import type { Release } from '../../store/releases.ts'
import { tableOf } from '../terminal.ts'
import { duration, whole } from './narrator.ts'
import type { World } from './world.ts'

/** What it has cost to take a candidate back. */
export interface TakeBack {
  /** Requests of callers that the candidate left without a prediction. */
  harmed: number
  /** How many requests the candidate had been given when the judge decided. */
  canaryRequests: number
  /** From the stage's first routing to the verdict. */
  noticedMs: number
  /** From the verdict until every live replica had acknowledged the return. */
  droppedMs: number
  /** From the verdict to the last answer of the candidate that a caller got; 0 when there was none after it. */
  lastAnswerMs: number
}

export async function takeBackOf(world: World, { state }: Release): Promise<TakeBack | undefined> {
  const { recovery } = state
  if (recovery === undefined) return undefined
  const decidedMs = recovery.decidedMs ?? recovery.orderedMs
  const canary = state.routings.find(({ stage }) => stage === 'canary')
  const startedMs = canary?.startedMs ?? decidedMs
  const ticks = canaryTicks(state, await findTicks(world.store, state.id))
  const served = world.replay
    ?.tally()
    .served.filter((each) => each.version === state.version && each.arm === 'canary')
  const lastAtMs = Math.max(0, ...(served ?? []).map((each) => each.lastAtMs))
  return {
    harmed: (served ?? []).reduce((sum, each) => sum + each.harmed, 0),
    canaryRequests: ticks
      .filter((tick) => tick.startMs >= startedMs && tick.startMs < decidedMs)
      .reduce((sum, tick) => sum + tick.canary.requests, 0),
    noticedMs: decidedMs - startedMs,
    droppedMs: recovery.acknowledgedMs - decidedMs,
    lastAnswerMs: Math.max(0, lastAtMs - decidedMs),
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

export const metricOf = ({ report }: Evaluation, name: string): string =>
  number(report.metrics.find(({ metric }) => metric === name)?.challenger ?? null)

export function takeBackLines(figures: TakeBack): string[] {
  return [
    `harmed requests                       ${whole(figures.harmed)}`,
    `noticed after                         ${whole(figures.canaryRequests)} canary requests, ${duration(figures.noticedMs)}`,
    `every replica had dropped it after    ${duration(figures.droppedMs)}`,
    `its last answer to a caller           ${figures.lastAnswerMs === 0 ? 'before the verdict' : `${duration(figures.lastAnswerMs)} after the verdict`}`,
  ]
}

const number = (value: number | null): string => (value === null ? '–' : value.toFixed(4))
const signed = (value: number): string => `${value >= 0 ? '+' : '−'}${Math.abs(value).toFixed(4)}`
