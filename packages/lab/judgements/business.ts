/**
 * Simulates the judge of business metrics: its false alarms on good releases, evaluated after every tick together with all other judges,
 * and the number of users that it needs to detect a candidate whose users buy less. `npm run bench -- business <releases> <seed> [releases
 * | users]`.
 */
import { judgeBusiness } from '../../../domain/canary/effects.ts'
import type { BusinessMetric } from '../../../domain/canary/business-policy.ts'
import { businessAlpha, totalAlpha } from '../../../domain/canary/alpha-split.ts'
import { businessTraffic } from '../../../domain/simulation/traffic.ts'
import { defaultWorld, parseScenario } from '../../../domain/simulation/scenario.ts'
import { simulateRelease } from '../../../domain/simulation/simulate.ts'
import { seededRandom } from '@tenure/sequential'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { hourPolicy } from '../../../test/support/release/hour-policy.ts'
import { atMostText, printRow, spreadText } from './table.ts'

const [releases = 1_000, seed = 1] = process.argv.slice(2, 4).map(Number)
/** `releases` or `users` runs one of the tables. */
const only = process.argv[4]
const hourMs = 3_600_000
const revenue: BusinessMetric = {
  event: 'purchase',
  counts: 'total',
  min: 0,
  max: 500,
  withinMs: hourMs / 6,
  delayMs: 60_000,
  lowerIsBetter: false,
  action: 'rollback',
}
const conversion: BusinessMetric = { ...revenue, counts: 'any', max: 1 }
const business = { revenue, conversion }

const policy: ReleasePolicy = {
  ...hourPolicy,
  limits: { ...hourPolicy.limits, alpha: businessAlpha, business },
}

console.log(`Σα = ${totalAlpha(businessAlpha)}, seed ${seed}\n`)

printRow(
  'scenario',
  'releases',
  'promoted',
  'rolled back',
  'by an event',
  'at most (95 %)',
  'canary requests to act',
)
printRow('---', '--:', '--:', '--:', '--:', '--:', '--:')
for (const text of only === 'users'
  ? []
  : ['good', 'earns:-0.05', 'earns:-0.2', 'earns:-0.5', 'earns:-0.9', 'earns:0.2']) {
  const scenario = parseScenario(text)!
  const all = Array.from({ length: releases }, (_, i) =>
    simulateRelease({
      policy,
      scenario,
      world: { ...defaultWorld, mirrored: true },
      uniform: seededRandom(seed * 1e6 + i),
    }),
  )
  const back = all.filter(({ outcome }) => outcome === 'rolled_back')
  const byEvents = back.filter(({ reason }) => / is worse: /.test(reason))
  printRow(
    text,
    releases,
    all.filter(({ outcome }) => outcome === 'promoted').length,
    back.length,
    byEvents.length,
    atMostText(byEvents.length, releases),
    spreadText(byEvents.flatMap(({ canaryRequestsToDetect: n }) => (n === undefined ? [] : [n]))),
  )
}

/** Simulates users of both arms in turn, half in each; the judge evaluates after every 2,000. Returns the number of users until it acts. */
function alone(metric: BusinessMetric, by: number, users: number, uniform: () => number): number | undefined {
  const scenario = by === 0 ? { kind: 'good' as const } : { kind: 'earns' as const, by }
  const given = { ...metric, withinMs: 0, delayMs: 0 }
  const traffic = businessTraffic({ metric: given }, scenario, uniform)
  const none = { errors: 0, invalid: 0, slow95: 0, slow99: 0 }
  for (let seen = 2_000; seen <= users; seen += 2_000) {
    const half = { ...none, requests: 1_000 }
    traffic.add({ canary: half, control: half }, { index: 0, shareBp: 5_000 }, seen)
    const evidence = traffic.evidence(seen)
    if (judgeBusiness(evidence, { metric: given }, businessAlpha.business, {}).against.length > 0) return seen
  }
  return undefined
}

console.log('')
printRow('metric', 'candidate', 'runs', 'rolled back', 'at most (95 %)', 'requests to act (both arms)')
printRow('---', '--:', '--:', '--:', '--:', '--:')
for (const [name, metric] of only === 'releases' ? [] : Object.entries({ conversion, revenue })) {
  for (const [by, users] of [
    [0, 500_000],
    [-0.05, 4_000_000],
    [-0.1, 2_000_000],
    [-0.2, 1_000_000],
    [-0.5, 200_000],
  ] as const) {
    const uniform = seededRandom(seed + 53)
    const found = Array.from({ length: releases }, () => alone(metric, by, users, uniform)).filter(
      (requests) => requests !== undefined,
    )
    printRow(
      name,
      by === 0 ? 'as good' : `${100 * by} %`,
      releases,
      found.length,
      atMostText(found.length, releases),
      spreadText(found),
    )
  }
}
