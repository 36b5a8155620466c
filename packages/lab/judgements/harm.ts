/**
 * Searches a policy for a harm budget against five kinds of bad candidates, releases others under it, and compares their harm with the
 * budget; writes packages/lab/judgements/harm.md. `npm run bench -- harm [--releases 1000] [--seed 1] [--harm 500]`
 */
import { writeFileSync } from 'node:fs'
import { normalQuantile, quantileOfSorted, sumOf } from '@tenure/sequential'
import { simulatePlans } from '../../../cli/simulate/run.ts'
import { dayPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'
import { totalAlpha } from '../../../domain/canary/alpha-split.ts'
import {
  championRateOf,
  scenarioOf,
  searchedFaults,
  searchPolicies,
  worldFor,
} from '../../../domain/simulation/policy-search.ts'
import { defaultWorld, type SimulatedWorld } from '../../../domain/simulation/scenario.ts'
import { figureTable } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'

const options = readOptions({ releases: 1_000, seed: 1, harm: 500, out: reportFile('judgements/harm.md') })
const hourMs = 3_600_000
const world: SimulatedWorld = {
  ...defaultWorld,
  requestsPerSecond: 20,
  // Outcomes come after an hour, for nine in ten requests; the champion is right in four of five.
  labels: { delayMs: hourMs, windowMs: hourMs, predictions: 1_000, known: 900, right: 720 },
}
const base: ReleasePolicy = {
  ...dayPolicy,
  shadow: { shareBp: 10_000, minMs: hourMs, minRequests: 1_000, deadlineMs: 8 * hourMs },
  probation: { holdbackBp: 500, minMs: 4 * hourMs, minRequests: 1_000, deadlineMs: 32 * hourMs },
}
const faults = searchedFaults('any')
const { chosen, candidates } = await searchPolicies(
  base,
  {
    world,
    faults,
    hours: [1],
    harmBudget: options.harm,
    falseRollback: totalAlpha(base.limits.alpha),
  },
  (plans, what) => {
    console.log(`${plans.length} plans: ${what}`)
    return simulatePlans(
      plans.map((plan) => ({ ...plan, seed: options.seed, releases: 40 })),
      () => {},
    )
  },
)
if (chosen === undefined) throw new Error(`no plan keeps ${options.harm}`)

const { policy } = chosen
const each = Math.ceil(options.releases / faults.length)
const played = await simulatePlans(
  faults.map((fault) => ({
    policy,
    scenario: scenarioOf(fault, { championRate: championRateOf(world), policy }),
    world: worldFor(policy, world),
    // Other releases than those that chose the policy.
    seed: options.seed + 1_000,
    releases: each,
  })),
  () => {},
)
const figure = (value: number | null) => String(Number((value ?? NaN).toPrecision(3)))
const rows = faults.map(({ name }, i) => {
  const harms = played[i]!.map(({ excessBad }) => excessBad).sort((a, b) => a - b)
  const mean = sumOf(harms) / harms.length
  const spread = Math.sqrt(sumOf(harms.map((harm) => (harm - mean) ** 2)) / (harms.length - 1) / harms.length)
  const found = played[i]!.filter(({ byVerdict }) => byVerdict).length
  return [
    name,
    String(harms.length),
    String(found),
    figure(mean),
    figure(mean + normalQuantile(0.95)! * spread),
    figure(quantileOfSorted(harms, 0.95)),
    figure(harms.at(-1)!),
  ]
})
console.log(chosen.name, rows)
writeFileSync(
  options.out,
  `# Harm under a searched policy

\`npm run bench -- harm --releases ${options.releases} --seed ${options.seed} --harm ${options.harm}\` writes this page. Harm is counted in failed
requests: those beyond the champion's rate, and answers that the champion would have had right. ${candidates.length} policies were simulated, 40
releases each with a good candidate and with each of the five bad ones; the fastest that finds 95 % of each and whose mean harm stays below
${options.harm}, with its upper 95 % bound, is **${chosen.name}**. Other releases under it:

${figureTable(['bad candidate', 'releases', 'rolled back', 'mean harm', 'at most (95 %)', '95th percentile', 'largest'], rows).join('\n')}

There are ${world.requestsPerSecond} requests/s. Outcomes come after an hour, for nine in ten requests; the champion is right in four of five and fails
0.5 %. The budget bounds the mean of the worst kind, not each release.
`,
)
