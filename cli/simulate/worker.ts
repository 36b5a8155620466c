/** Simulates a share of the releases in a child process. */
import { seededRandom } from '../../domain/statistics/random.ts'
import type { BaselineRuleName } from '../../domain/simulation/baseline-rules.ts'
import { simulateRelease, type SimulatedRelease } from '../../domain/simulation/simulate.ts'
import type { TrafficScenario, SimulatedWorld } from '../../domain/simulation/scenario.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'

export interface Share {
  policy: ReleasePolicy
  scenario: TrafficScenario
  world: SimulatedWorld
  /** Each release draws from its own stream, so that the distribution over processes changes nothing. */
  seed: number
  from: number
  to: number
  rule?: BaselineRuleName
}

export type WorkerMessage = { done: number } | { releases: SimulatedRelease[] }

process.once('message', (share: Share) => {
  const releases: SimulatedRelease[] = []
  for (let i = share.from; i < share.to; i++) {
    const uniform = seededRandom(Math.imul(share.seed, 0x9e3779b1) + i)
    releases.push(simulateRelease({ ...share, uniform }, share.rule))
    process.send?.({ done: 1 } satisfies WorkerMessage)
  }
  process.send?.({ releases } satisfies WorkerMessage, () => process.disconnect())
})
