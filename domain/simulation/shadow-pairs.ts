/** Generates the answers of both versions in a simulated shadow: which decisions differ, over all requests and in a slice. */
import type { DisagreementEvidence } from '../canary/disagreement.ts'
import { seededRandom } from '../statistics/random.ts'
import { binomial, type Uniform } from '../statistics/random-variates.ts'
import { wrongShare, type SimulatedWorld, type TrafficScenario } from './scenario.ts'

/** Two good versions decide differently on this share of the requests. */
const usualShare = 0.04
/** The share of the requests in the slice. */
const sliceShare = 0.1
/** As many as the judge of a release reads. */
const maxPairs = 100_000

export interface ShadowPairs {
  /** Adds the requests of a tick, each from another user. */
  add(requests: number, atMs: number): void
  /** Undefined before the first pair. */
  evidence(): DisagreementEvidence | undefined
}

/** Undefined for scenarios in which no decision differs, so that they draw the same traffic as before. */
export function shadowPairs(
  scenario: TrafficScenario,
  { labels }: Pick<SimulatedWorld, 'labels'>,
  given: Uniform,
): ShadowPairs | undefined {
  if (scenario.kind !== 'worse' && scenario.kind !== 'slice' && scenario.kind !== 'stale-feature')
    return undefined
  const uniform = seededRandom(Math.floor(given() * 2 ** 32))
  const name = scenario.kind === 'slice' ? scenario.name : undefined
  const parts = { slice: [0, 0], rest: [0, 0] }
  const add = (part: number[], requests: number, share: number): void => {
    const differing = binomial(uniform, requests, share)
    part[0]! += requests - differing
    part[1]! += differing
  }
  return {
    add(requests, atMs) {
      const everywhere = Math.min(1, usualShare + wrongShare(scenario, atMs, labels))
      const inSlice = Math.min(1, everywhere + (scenario.kind === 'slice' ? scenario.by : 0))
      const [same, differ] = [0, 1].map((i) => parts.slice[i]! + parts.rest[i]!)
      const read = Math.min(requests, maxPairs - same! - differ!)
      const sliced = binomial(uniform, read, sliceShare)
      add(parts.slice, sliced, inSlice)
      add(parts.rest, read - sliced, everywhere)
    },
    evidence() {
      const distances = [0, 1].map((i) => parts.slice[i]! + parts.rest[i]!)
      if (distances[0]! + distances[1]! === 0) return undefined
      const slices = [
        { name: name ?? 'slice', distances: parts.slice },
        { name: 'others', distances: parts.rest },
      ]
      return {
        measure: 'decisions',
        all: { name: 'all requests', distances },
        slices: name === undefined ? [] : slices,
        changes: [],
      }
    },
  }
}
