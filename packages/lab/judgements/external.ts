/**
 * Simulates the judge of external metrics together with all other judges: false alarms on good releases, an unavailable source, and the
 * minutes and requests until a worse candidate is rolled back. `npm run bench -- external <releases> <seed>`.
 */
import type { ExternalMetric } from '../../../domain/canary/external/external-policy.ts'
import { alphaFor, totalAlpha } from '../../../domain/canary/alpha-split.ts'
import { defaultWorld, parseScenario } from '../../../domain/simulation/scenario.ts'
import { simulateRelease } from '../../../domain/simulation/simulate.ts'
import { seededRandom } from '@tenure/sequential'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { hourPolicy } from '../../../test/support/release/hour-policy.ts'
import { atMostText, printRow, spreadText } from './table.ts'

const [releases = 1_000, seed = 1] = process.argv.slice(2, 4).map(Number)
const hourMs = 3_600_000
const world = { ...defaultWorld, tickMs: 60_000, mirrored: true as const }
const complaints: ExternalMetric = {
  kind: 'promql',
  source: 'prometheus',
  query: '$version',
  tolerance: 0.1,
  min: 0,
  max: 0.2,
  lowerIsBetter: true,
  everyMs: 60_000,
  delayMs: 0,
  minRequests: 20,
  action: 'rollback',
  onError: 'ask',
}
const alpha = alphaFor({ business: false, external: true })
const policyWith = (external: Record<string, ExternalMetric>): ReleasePolicy => ({
  ...hourPolicy,
  stages: hourPolicy.stages.map((stage) => ({ ...stage, minMs: 6 * hourMs, deadlineMs: 12 * hourMs })),
  limits: { ...hourPolicy.limits, alpha, external },
})
const policies = {
  'control, tolerance 10 %': policyWith({ complaints }),
  'control, tolerance 0': policyWith({ complaints: { ...complaints, tolerance: 0 } }),
  'limit 0.1': policyWith({ complaints: { ...complaints, limit: 0.1 } }),
}

console.log(
  `Σα = ${totalAlpha(alpha)}, seed ${seed}, windows of a minute, the control at 0.05 of at most 0.2\n`,
)
printRow(
  'against',
  'scenario',
  'releases',
  'promoted',
  'rolled back',
  'by the metric',
  'at most (95 %)',
  'held',
  'minutes to act',
)
printRow('---', '---', '--:', '--:', '--:', '--:', '--:', '--:', '--:')
for (const [against, policy] of Object.entries(policies))
  for (const text of [
    'good',
    'source-away',
    'measured:0.1',
    'measured:0.2',
    'measured:0.5',
    'measured:1',
    'measured:3',
  ]) {
    const scenario = parseScenario(text)!
    const runs = text.startsWith('measured') ? Math.ceil(releases / 5) : releases
    const all = Array.from({ length: runs }, (_, i) =>
      simulateRelease({ policy, scenario, world, uniform: seededRandom(seed * 1e6 + i) }),
    )
    const back = all.filter(({ outcome }) => outcome === 'rolled_back')
    const byMetric = back.filter(({ reason }) => reason.startsWith('complaints is worse'))
    printRow(
      against,
      text,
      runs,
      all.filter(({ outcome }) => outcome === 'promoted').length,
      back.length,
      byMetric.length,
      atMostText(byMetric.length, runs),
      all.filter(({ outcome }) => outcome === 'held').length,
      spreadText(byMetric.map(({ minutes }) => minutes)),
    )
  }
