/** `tenure simulate`: simulates a release policy on synthetic or recorded traffic, without a running system. */
import { readFile } from 'node:fs/promises'
import { DomainError } from '../../../domain/errors.ts'
import { countText, none, spanText } from '../../../api/charts/figures.ts'
import { counted, groupedDigits } from '../../../domain/figures.ts'
import { dayPolicy, issuesOfPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'
import { totalAlpha } from '../../../domain/canary/alpha-split.ts'
import {
  baselineRuleNames,
  rivalRules,
  type BaselineRuleName,
} from '../../../domain/simulation/baseline-rules.ts'
import {
  describeScenario,
  betterScenario,
  parseScenario,
  requestsPerDayOf,
  scenarioForm,
  scenarioForms,
  type SimulatedWorld,
} from '../../../domain/simulation/scenario.ts'
import { neverDecided, neverDecidedText } from '../../../domain/simulation/decidable.ts'
import { summarizeReleases, type SimulationSummary, type Spread } from '../../../domain/simulation/summary.ts'
import { loadModels } from '../../../models/index.ts'
import { usageError } from '../../client/client.ts'
import type { CommandSpec, Options } from '../../program.ts'
import { simulateReleases } from '../../simulate/run.ts'
import { numberOption } from '../../number-option.ts'
import { worldOf } from '../../simulate/world.ts'
import { barOf, tableOf, type Terminal } from '../../terminal.ts'

export const simulateCommand: CommandSpec = {
  name: 'simulate',
  summary: 'Simulate a release policy under a scenario',
  options: [
    ['--policy <model|file>', 'Model name or JSON file (default: one day, canary shares from 1 to 50 %)'],
    ['--scenario <scenario>', `One of (default: good) ${Object.keys(scenarioForms).join(', ')}`],
    ['--releases <n>', 'Number of releases (default: 100)'],
    ['--rps <n>', 'Requests per second, of champion and candidate together (default: 100)'],
    ['--base-error <rate>', 'Error rate of the champion, 0 to 1 (default: 0.005)'],
    [
      '--traffic <file>',
      'Recorded traffic of a champion: one JSON line {"requests","errors","invalid"} per tick, or the answer of GET /v1/models/<model>/traffic',
    ],
    ['--seed <n>', 'Random seed; the same seed gives the same figures (default: 1)'],
    ['--compare <rule>', `Also run the same traffic under another rule: ${baselineRuleNames.join(', ')}`],
  ],
  examples: [
    'simulate --scenario good --releases 1000',
    'simulate --policy flight-delay --scenario error:0.02 --rps 50',
    'simulate --scenario error-at:0.02@12h --compare flagger',
  ],
  async run({ terminal }, { options }) {
    const name = String(options['scenario'] ?? 'good')
    const scenario = parseScenario(name)
    const form = scenarioForm(name)
    if (!scenario)
      throw usageError(
        form !== undefined
          ? `--scenario "${name}" is not of the form ${form}: ${scenarioForms[form]}`
          : `unknown --scenario "${name}"; use one of ${Object.keys(scenarioForms).join(', ')}`,
      )
    const releases = numberOption(options, 'releases', { min: 1, max: 1_000_000, whole: true }) ?? 100
    // Without a terminal no progress bar is drawn, so one line reports the start.
    if (terminal.interactive) terminal.progress(`${barOf(0, 30)} 0 of ${releases} releases`)
    else terminal.complain(`Simulating ${releases} releases where ${describeScenario(name)} …`)
    const policy = await policyOf(options['policy'])
    if (scenario.kind === 'earns' && policy.limits.business === undefined)
      throw usageError(`the scenario "${name}" needs a --policy with business metrics`)
    if (['measured', 'source-away'].includes(scenario.kind) && policy.limits.external === undefined)
      throw usageError(`the scenario "${name}" needs a --policy with external metrics`)
    const world = await worldOf(options, policy)
    const seed = numberOption(options, 'seed', { min: 0, max: 2 ** 31, whole: true }) ?? 1
    const rule = ruleOf(options['compare'])
    const plan = { policy, scenario, world, seed, releases }

    const summaryOf = async (by?: BaselineRuleName, under = name): Promise<SimulationSummary> => {
      const show = (done: number) =>
        terminal.progress(
          `${barOf(done / releases, 30)} ${done} of ${releases} releases${by ? ` under ${by}` : ''}`,
        )
      const simulating = parseScenario(under)!
      const simulated = await simulateReleases({ ...plan, scenario: simulating }, show, by)
      terminal.progress(undefined)
      return summarizeReleases(under, simulating, simulated)
    }
    const ours = await summaryOf()
    const theirs = rule === undefined ? undefined : await summaryOf(rule)
    // A policy that never stops an equal candidate may still stop one that is better and answers otherwise.
    const better = scenario.kind === 'good' ? await summaryOf(undefined, betterScenario) : undefined
    const daily = Math.round(requestsPerDayOf(world))
    const undecided = neverDecided(policy, daily)
    const warning = neverDecidedText(undecided, daily, spanText)
    terminal.answer(
      {
        ...ours,
        ...(better && { better }),
        neverDecided: undecided,
        ...(theirs && { compare: { rule, ...theirs } }),
      },
      [
        explain(terminal, ours, { policy, world, rule, theirs, better }),
        ...(warning === undefined ? [] : ['', warning]),
      ].join('\n'),
    )
  },
}

async function policyOf(named: Options[string]): Promise<ReleasePolicy> {
  if (named === undefined) return dayPolicy
  const { models } = await loadModels()
  const model = models.find((each) => each.name === named)
  const policy = model ? model.definition.release : await policyFile(String(named))
  const issues = issuesOfPolicy(policy, model?.definition.label.output)
  if (issues.length > 0)
    throw new DomainError('invalid_policy', `the policy of ${String(named)}: ${issues.join('; ')}`)
  return policy
}

/** Reads a policy file. Missing fields default to the one-day policy. */
async function policyFile(path: string): Promise<ReleasePolicy> {
  const text = await readFile(path, 'utf8').catch(() => {
    throw usageError(`--policy ${path} names no model and no readable file`)
  })
  try {
    const given = JSON.parse(text) as Partial<ReleasePolicy>
    const { approval, watch, limits } = dayPolicy
    return {
      ...dayPolicy,
      ...given,
      approval: { ...approval, ...given.approval },
      watch: { ...watch, ...given.watch },
      limits: { ...limits, ...given.limits },
    }
  } catch (error) {
    throw usageError(`--policy ${path} is not JSON: ${(error as Error).message}`)
  }
}

function ruleOf(named: Options[string]): BaselineRuleName | undefined {
  if (named === undefined) return undefined
  const rule = baselineRuleNames.find((name) => name === named)
  if (!rule)
    throw usageError(`unknown --compare "${String(named)}"; use one of ${baselineRuleNames.join(', ')}`)
  return rule
}

function explain(
  terminal: Terminal,
  ours: SimulationSummary,
  {
    policy,
    world,
    rule,
    theirs,
    better,
  }: {
    policy: ReleasePolicy
    world: SimulatedWorld
    rule: BaselineRuleName | undefined
    theirs: SimulationSummary | undefined
    better: SimulationSummary | undefined
  },
): string {
  const traffic = world.recorded
    ? `${groupedDigits(world.recorded.length)} recorded ticks, repeated`
    : `${world.requestsPerSecond} requests/s, champion error rate ${percent(world.errorRate)}`
  const shares = policy.stages.map((stage) => percent(stage.shareBp / 10_000)).join(' → ')
  const rows: [string, (summary: SimulationSummary) => string, string][] = [
    [
      'promoted',
      (s) => share(s.promoted, s),
      `reached 100 %${policy.probation === undefined ? '' : ' and passed probation'}`,
    ],
    ['rolled back', (s) => share(s.rolledBack, s), 'on evidence, or at a deadline without data'],
    ['needs a decision', (s) => share(s.held, s), 'inconclusive: an approver decides'],
    ['expired', (s) => share(s.expired, s), 'no approval in time'],
    [
      'false rollbacks',
      ({ falseRollbackRate: rate }) => (rate === null ? '–' : percent(rate)),
      `candidates that are no worse, rolled back on evidence; bound ${percent(totalAlpha(policy.limits.alpha))} (Σα)`,
    ],
    ...(better === undefined
      ? []
      : [
          [
            'better releases rolled back or asked',
            (s: SimulationSummary) => (s === ours ? stopsText(better) : none),
            `of as many that are better and answer otherwise (${better.scenario})`,
          ] satisfies [string, (summary: SimulationSummary) => string, string],
        ]),
    [
      'canary requests to detect',
      (s) => spread(s.canaryRequestsToDetect),
      'from fault to rollback, p50 / p95',
    ],
    ['time to detect', (s) => times(s.minutesToDetect), 'p50 / p95'],
    [
      'failures',
      (s) => spread(s.excessBad),
      "failed requests and wrong answers beyond the champion's, p50 / p95",
    ],
    ['time to promote', (s) => times(s.minutesToPromote), 'p50 / p95'],
  ]
  const headings = theirs ? ['', 'this policy', rule ?? '', ''] : ['', 'this policy', '']
  return [
    `${counted(ours.releases, 'release')} where ${describeScenario(ours.scenario)} (${ours.scenario})`,
    `${policy.strategy} ${shares}; ${traffic}`,
    '',
    tableOf(
      headings,
      rows.map(([label, of, about]) => [
        label,
        of(ours),
        ...(theirs ? [of(theirs)] : []),
        terminal.paint('dim', about),
      ]),
    ),
    ...(rule ? ['', `${rule}: ${rivalRules[rule]}`] : []),
  ].join('\n')
}

const stopsText = ({ rolledBack, held, releases }: SimulationSummary): string =>
  `${percent(rolledBack / releases)} and ${percent(held / releases)}`
const percent = (value: number): string => `${Number((value * 100).toPrecision(3))} %`
const share = (count: number, { releases }: SimulationSummary): string =>
  `${groupedDigits(count)} (${percent(count / releases)})`
const spread = ({ p50, p95 }: Spread): string =>
  p50 === null ? none : `${countText(p50)} / ${countText(p95)}`
const times = ({ p50, p95 }: Spread): string =>
  p50 === null ? none : `${spanText(60_000 * p50)} / ${spanText(p95 === null ? null : 60_000 * p95)}`
