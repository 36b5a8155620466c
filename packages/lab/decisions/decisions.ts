/**
 * Measures the canary judge and the documented rules of other controllers on the same simulated traffic, and writes
 * packages/lab/decisions/decisions.md. `npm run bench -- decisions [--seed 1] [--releases 1000] [--others 100]`
 */
import { writeFile } from 'node:fs/promises'
import { simulateReleases, type SimulationPlan } from '../../../cli/simulate/run.ts'
import { totalAlpha } from '../../../domain/canary/alpha-split.ts'
import { dayPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'
import {
  baselineRuleNames,
  rivalRules,
  type BaselineRuleName,
} from '../../../domain/simulation/baseline-rules.ts'
import { betterScenario, defaultWorld, parseScenario } from '../../../domain/simulation/scenario.ts'
import { figureTable } from '../../../test/support/figures.ts'
import { readOptions } from '../harness/options.ts'
import { summarizeReleases, type SimulationSummary } from '../../../domain/simulation/summary.ts'

const {
  seed,
  releases,
  others: n,
} = readOptions({
  seed: 1,
  /** Equal candidates of each cell. */
  releases: 1_000,
  /** Better and bad ones. */
  others: 100,
})
const startedMs = performance.now()

/** One day at a share of 5 %. */
const fivePercent: ReleasePolicy = {
  ...dayPolicy,
  stages: [{ shareBp: 500, minMs: 86_400_000, minRequests: 1_000, deadlineMs: 2 * 86_400_000 }],
}

async function measure(
  name: string,
  policy: ReleasePolicy,
  { rule, n = releases }: { rule?: BaselineRuleName; n?: number } = {},
): Promise<SimulationSummary> {
  const scenario = parseScenario(name)
  if (!scenario) throw new Error(`${name} is no scenario`)
  const plan: SimulationPlan = {
    policy,
    scenario,
    world: { ...defaultWorld, mirrored: true },
    seed,
    releases: n,
  }
  const summary = summarizeReleases(name, scenario, await simulateReleases(plan, () => {}, rule))
  console.log(`${rule ?? 'tenure'} ${JSON.stringify(summary)}`)
  return summary
}

const percent = (value: number) => `${Number((100 * value).toPrecision(3))} %`
const figure = (value: number | null) => (value === null ? '–' : String(Math.round(value)))

const rules: (BaselineRuleName | undefined)[] = [undefined, ...baselineRuleNames]
const ruleNames = rules.map((rule) => rule ?? 'tenure')
const table = (heads: string | readonly string[], rows: readonly (readonly string[])[]) =>
  figureTable(heads, rows, { figures: '---' }).join('\n')

const good: string[][] = []
const detection: string[][] = []
const reference: Record<string, number> = { '0.01': 2_852, '0.02': 445, '0.05': 85, '0.1': 35 }
for (const [label, candidate, policy, scenario] of [
  ['a day from 1 to 50 %', 'equal, rolled back', dayPolicy, 'good'],
  ['a day at 5 %', 'equal, rolled back', fivePercent, 'good'],
  ['a day from 1 to 50 %', 'better, rolled back or asked', dayPolicy, betterScenario],
] as const) {
  const cells: string[] = []
  for (const rule of rules) {
    const of = { ...(rule && { rule }), n: scenario === 'good' ? releases : n }
    const { falseRollbackRate, promoted } = await measure(scenario, policy, of)
    cells.push(percent(scenario === 'good' ? falseRollbackRate! : 1 - promoted / n))
  }
  good.push([label, candidate, ...cells])
}
for (const rate of Object.keys(reference)) {
  const cells: string[] = []
  for (const rule of rules) {
    const summary = await measure(`error:${rate}`, fivePercent, { ...(rule && { rule }), n })
    const found = summary.rolledBack / summary.releases
    cells.push(
      `${figure(summary.canaryRequestsToDetect.p50)} / ${figure(summary.canaryRequestsToDetect.p95)}` +
        (found < 1 ? ` (found in ${percent(found)})` : ''),
    )
  }
  detection.push([percent(Number(rate)), String(reference[rate]), ...cells])
}
const others: string[][] = []
for (const name of [
  'error:1',
  'error-at:0.02@12h',
  'latency:1.5',
  'storm:1',
  'storm:50',
  'router-drift',
  'no-traffic',
  'control-gone',
  'stale-at:6h',
  'label-shift',
]) {
  const s = await measure(name, dayPolicy, { n })
  others.push([
    `\`${name}\``,
    percent(s.promoted / s.releases),
    percent(s.rolledBack / s.releases),
    percent(s.held / s.releases),
    `${figure(s.canaryRequestsToDetect.p50)} / ${figure(s.canaryRequestsToDetect.p95)}`,
    s.minutesToDetect.p50 === null
      ? '–'
      : `${s.minutesToDetect.p50.toFixed(1)} / ${s.minutesToDetect.p95?.toFixed(1)}`,
    `${figure(s.excessBad.p50)} / ${figure(s.excessBad.p95)}`,
  ])
}

await writeFile(
  new URL('./decisions.md', import.meta.url),
  `# How well the release judge decides

Made by \`npm run bench -- decisions --seed ${seed} --releases ${releases} --others ${n}\` in ${Math.round((performance.now() - startedMs) / 60_000)} minutes; the same seed gives the same figures.
The champion fails ${percent(defaultWorld.errorRate)} of ${defaultWorld.requestsPerSecond} requests/s. Tenure evaluates all metrics, with Σα = ${percent(totalAlpha(dayPolicy.limits.alpha))}.
The other columns apply other rules to the same traffic; those of the two controllers are their documented examples:

${baselineRuleNames.map((name) => `- **${name}**: ${rivalRules[name]}`).join('\n')}

## Good releases rolled back within a day, or asked about

${releases} releases a cell; ${n} of a better candidate. An *equal* candidate is exactly as good as the champion. A *better* one has learnt a moved base rate and answers otherwise
(\`${betterScenario}\`). The other rules read failures alone and ask no person.

${table(['policy', 'candidate', ...ruleNames], good)}

## Canary requests until a bad release is rolled back

At a share of 5 %, median / 95th percentile of ${n} releases. *Reference* is the median of a plain two-arm test without delayed starts. Tenure's
delayed starts find late faults but need more requests.

${table(['canary errors', 'reference', ...ruleNames], detection)}

## Other scenarios, under the policy of a day from 1 to 50 %

${n} releases a row; p50 / p95.

${table('scenario | promoted | rolled back | held | canary requests to detect | minutes to detect | excess bad answers', others)}
`,
)
