/**
 * Simulates releases under a policy in a child process for the dashboard, because a replica must not block for seconds while it serves
 * requests.
 */
import { setPriority } from 'node:os'
import { seededRandom } from '@tenure/sequential'
import { parseScenario, type SimulatedWorld } from '../../domain/simulation/scenario.ts'
import { summarizeReleases, type SimulationSummary } from '../../domain/simulation/summary.ts'
import { simulateRelease, type SimulatedRelease } from '../../domain/simulation/simulate.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'

export interface SimulationOrder {
  policy: ReleasePolicy
  world: SimulatedWorld
  /** The scenarios, by their names in `tenure simulate`. */
  scenarios: readonly string[]
  /** The number of simulated releases per scenario, unless the time runs out. */
  releases: number
  withinMs: number
}

process.once('message', (order: SimulationOrder) => {
  setPriority(19)
  process.send?.(simulateScenarios(order), () => process.disconnect())
})

/** Simulates every scenario at least once. The scenario with the least time spent is always next. */
function simulateScenarios({
  policy,
  world,
  scenarios,
  releases,
  withinMs,
}: SimulationOrder): SimulationSummary[] {
  const runs = scenarios.flatMap((name) => {
    const scenario = parseScenario(name)
    return scenario === undefined ? [] : [{ name, scenario, spentMs: 0, played: [] as SimulatedRelease[] }]
  })
  const untilMs = performance.now() + withinMs
  for (;;) {
    const late = performance.now() >= untilMs
    const due = runs.filter(({ played }) => (late ? played.length === 0 : played.length < releases))
    const [next] = due.sort((one, other) => one.spentMs - other.spentMs)
    if (next === undefined) break
    const fromMs = performance.now()
    const uniform = seededRandom(0x9e3779b1 + next.played.length)
    next.played.push(simulateRelease({ policy, scenario: next.scenario, world, uniform }))
    next.spentMs += performance.now() - fromMs
  }
  return runs.map(({ name, scenario, played }) => summarizeReleases(name, scenario, played))
}
