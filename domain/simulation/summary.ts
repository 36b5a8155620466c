/** Summarises many simulated releases: false rollbacks of good releases, and detection time and harm of bad ones. */
import { quantileOfSorted } from '@tenure/sequential'
import { faultStart, type SimulatedRelease } from './simulate.ts'
import type { TrafficScenario } from './scenario.ts'

/** The results of a policy under one scenario. */
export interface SimulationSummary {
  scenario: string
  releases: number
  promoted: number
  rolledBack: number
  /** Needs a decision of an approver. */
  held: number
  expired: number
  /** How many each test rolled back or asked about, by its code. */
  stopped: Record<string, number>
  /** The share of good candidates that a verdict rolled back, 0..1; null when the candidates are faulty. */
  falseRollbackRate: number | null
  canaryRequestsToDetect: Spread
  minutesToDetect: Spread
  excessBad: Spread
  minutesToPromote: Spread
}

export type Spread = { p50: number | null; p95: number | null }

export function summarizeReleases(
  name: string,
  scenario: TrafficScenario,
  releases: readonly SimulatedRelease[],
): SimulationSummary {
  const count = (outcome: SimulatedRelease['outcome']) =>
    releases.filter((each) => each.outcome === outcome).length
  const harmless = faultStart(scenario) === undefined || (scenario.kind === 'storm' && scenario.users === 1)
  const spread = (of: (release: SimulatedRelease) => number | undefined): Spread => {
    const values = releases
      .map(of)
      .filter((value) => value !== undefined)
      .sort((a, b) => a - b)
    return { p50: quantileOfSorted(values, 0.5), p95: quantileOfSorted(values, 0.95) }
  }
  return {
    scenario: name,
    releases: releases.length,
    promoted: count('promoted'),
    rolledBack: count('rolled_back'),
    held: count('held'),
    expired: count('expired'),
    stopped: countBy(releases.flatMap(({ stoppedBy }) => stoppedBy ?? [])),
    falseRollbackRate: harmless ? releases.filter((each) => each.byVerdict).length / releases.length : null,
    canaryRequestsToDetect: spread((each) => each.canaryRequestsToDetect),
    minutesToDetect: spread((each) => each.minutesToDetect),
    excessBad: spread((each) => each.excessBad),
    minutesToPromote: spread((each) => (each.outcome === 'promoted' ? each.minutes : undefined)),
  }
}

function countBy(codes: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const code of codes) counts[code] = (counts[code] ?? 0) + 1
  return counts
}
