/** Simulates a share of the releases of each plan in a child process. */
import { seededRandom } from '@tenure/sequential'
import type { BaselineRuleName } from '../../domain/simulation/baseline-rules.ts'
import { simulateRelease, type SimulatedRelease } from '../../domain/simulation/simulate.ts'
import type { TrafficScenario, SimulatedWorld } from '../../domain/simulation/scenario.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'

export interface Share {
  policy: ReleasePolicy
  scenario: TrafficScenario
  world: SimulatedWorld
  /** Each release has its own random stream, so the result does not depend on the number of processes. */
  seed: number
  from: number
  to: number
  rule?: BaselineRuleName
}

export type WorkerMessage = { done: number } | { releases: SimulatedRelease[][] }

process.once('message', (shares: readonly Share[]) => {
  const releases = shares.map((share) =>
    Array.from({ length: share.to - share.from }, (_, i) => {
      const uniform = seededRandom(Math.imul(share.seed, 0x9e3779b1) + share.from + i)
      const simulated = simulateRelease({ ...share, uniform }, share.rule)
      process.send?.({ done: 1 } satisfies WorkerMessage)
      return simulated
    }),
  )
  process.send?.({ releases } satisfies WorkerMessage, () => process.disconnect())
})
