/** `tenure policy`: searches the stages of a release policy by simulation on the model's own traffic. */
import { fourDigits, percentText } from '../../../domain/figures.ts'
import type { ReleasePolicy, StagePolicy } from '../../../domain/release/policy.ts'
import { totalAlpha, type AlphaSplit } from '../../../domain/canary/alpha-split.ts'
import {
  championRateOf,
  requiredPower,
  searchedFaults,
  searchedKinds,
  searchedSettings,
  searchPolicies,
  type PolicyScore,
  type SearchedFault,
  type SearchedKind,
  type SearchedPolicies,
  type SearchedSetting,
} from '../../../domain/simulation/policy-search.ts'
import { countBusyTicks, minBusyTicks, type SimulatedWorld } from '../../../domain/simulation/scenario.ts'
import { path, usageError, type Client } from '../../client/client.ts'
import { exitCodes, type ExitCode } from '../../exit-codes.ts'
import type { CommandGroup, CommandInput, CommandSession, Options } from '../../program.ts'
import { numberOption } from '../../number-option.ts'
import { findOwnModel } from '../../own-model.ts'
import { simulatePlans } from '../../simulate/run.ts'
import { recordedWorld, worldOf, type TrafficAnswer } from '../../simulate/world.ts'
import { barOf, tableBy, type Columns, type Terminal } from '../../terminal.ts'

const defaultHours = '0.25,1,4,12,24,72'

export const policyGroup: CommandGroup = {
  name: 'policy',
  summary: 'Find a release policy by simulation',
  commands: [
    {
      name: 'suggest <model>',
      summary:
        'Find stages by simulation, with their time to promotion, expected failures, and chance to detect a bad candidate',
      options: [
        [
          '--failure-budget <n>',
          'Failed requests and wrong answers beyond those of the champion that a release may cause (default: that of the policy)',
        ],
        ['--wrong-cost <n>', 'How many failed requests a wrong answer costs (default: 1)'],
        [
          '--false-rollback <rate>',
          'Largest share of good candidates that may be rolled back, up to 0.05 (default: that of the policy)',
        ],
        [
          '--fault <kind>',
          'Fault of the bad candidates: errors, worse, stale-feature or any (default: errors). Outcomes arrive after the recorded delays, or at once without a record',
        ],
        [
          '--settings <list>',
          `Settings to search after shares and times, or none (default: ${searchedSettings.join(',')})`,
        ],
        ['--hours <list>', `Total times of the stages to try, in hours (default: ${defaultHours})`],
        ['--releases <n>', 'Simulated releases for each plan and fault (default: 40)'],
        [
          '--traffic <file>',
          'Recorded traffic instead of that of the running system: JSON lines, or an answer of its API',
        ],
        ['--rps <n>', 'Steady requests per second instead of recorded traffic'],
        ['--base-error <rate>', 'With --rps, the error rate of the champion (default: 0.005)'],
        ['--seed <n>', 'Random seed; the same seed gives the same figures (default: 1)'],
      ],
      examples: [
        'policy suggest flight-delay --failure-budget 50 --false-rollback 0.05',
        'policy suggest iris --rps 20 --hours 1,4,24 --json',
        'policy suggest iris --rps 20 --fault worse',
      ],
      run: suggest,
    },
  ],
}

async function suggest(
  { terminal, api }: CommandSession,
  { args, options }: CommandInput,
): Promise<ExitCode> {
  const model = String(args[0])
  const policy = await policyOf(model)
  const search = {
    harmBudget: numberOption(options, 'failure-budget', { min: 0, max: 1e9 }) ?? policy.limits.harmBudget,
    falseRollback: numberOption(options, 'false-rollback', { min: 0.001, max: 0.05 }) ?? alphaOf(policy),
    hours: hoursOf(options['hours']),
  }
  const fault = faultOf(options['fault'])
  const releases = numberOption(options, 'releases', { min: 10, max: 10_000, whole: true }) ?? 40
  const seed = numberOption(options, 'seed', { min: 0, max: 2 ** 31, whole: true }) ?? 1
  const isGiven = options['traffic'] !== undefined || options['rps'] !== undefined
  const wrongCost = numberOption(options, 'wrong-cost', { min: 0, max: 1e6 }) ?? 1
  const given = { ...(await worldOf(options, policy)), wrongCost }
  const world = isGiven ? given : { ...given, ...(await recordedTraffic(api(), model)) }
  const faults = searchedFaults(fault)
  const settings = settingsOf(options['settings'])
  const { candidates, scores, front, chosen } = await searchPolicies(
    policy,
    { ...search, world, faults, settings },
    (plans, what) => {
      const total = plans.length * releases
      return simulatePlans(
        plans.map((plan) => ({ ...plan, seed, releases })),
        (done) => terminal.progress(`${barOf(done / total, 30)} ${done} of ${total} releases: ${what}`),
      )
    },
  )
  terminal.progress(undefined)
  terminal.answer(
    { model, ...search, suggestion: chosen?.name ?? null, ...settingsIn(chosen?.policy), front, scores },
    [
      `${candidates.length} plans, ${releases} releases of each under each of ${faults.length + 2} conditions, on ${trafficText(world)}.`,
      'Plans that no other beats in time, failures and power:',
      '',
      frontTable(terminal, { front, chosen, faults }),
      '',
      chosen === undefined
        ? `No plan rolls back ${percentText(requiredPower)} of candidates that ${searchedKinds[fault]} with at most ${search.harmBudget} failures and wrong answers: allow more with --failure-budget, or longer stages with --hours.`
        : modelFileLines(chosen.policy, policy),
    ].join('\n'),
  )
  return chosen === undefined ? exitCodes.otherwise : exitCodes.done
}

async function policyOf(name: string): Promise<ReleasePolicy> {
  const { release } = await findOwnModel(name)
  if (release.strategy !== 'canary' && release.strategy !== 'rolling')
    throw usageError(
      `${name} is released by ${release.strategy}: only canary and rolling have stages to search`,
    )
  return release
}

function faultOf(given: Options[string]): SearchedKind {
  const kind = String(given ?? 'errors')
  if (!Object.hasOwn(searchedKinds, kind))
    throw usageError(`--fault is one of ${Object.keys(searchedKinds).join(', ')}, not ${kind}`)
  return kind as SearchedKind
}

function hoursOf(given: Options[string]): number[] {
  const hours = String(given ?? defaultHours)
    .split(',')
    .map(Number)
  if (!hours.every((each) => each >= 0.01 && each <= 1_000))
    throw usageError(`--hours is a list of numbers from 0.01 to 1000, such as 1,4,24, not ${String(given)}`)
  return hours
}

/** Reads the traffic that the running system has recorded. */
async function recordedTraffic(api: Client, model: string): Promise<Partial<SimulatedWorld>> {
  const answer = await api.get<TrafficAnswer>(path`/v1/models/${model}/traffic`)
  const busy = countBusyTicks(answer.ticks)
  if (busy < minBusyTicks)
    throw usageError(
      `the last day of ${model} has ${busy} intervals of traffic, fewer than ${minBusyTicks}: give --rps, such as --rps 50, or --traffic`,
    )
  return recordedWorld(answer)
}

function trafficText(world: SimulatedWorld): string {
  const failing = `of which the champion fails ${percentText(championRateOf(world))}`
  if (world.recorded === undefined) return `${world.requestsPerSecond} requests/s, ${failing}`
  const requests = world.recorded.reduce((all, tick) => all + tick.requests, 0)
  return `the last day of its traffic (${Math.round(requests)} requests, ${failing}${labelText(world.labels)})`
}

/** Describes how the outcomes arrive that candidates are judged by. */
function labelText(labels: SimulatedWorld['labels']): string {
  if (labels === undefined) return ', no outcomes recorded: simulated as known at once'
  const { delayMs, predictions, known, right } = labels
  const rightly = right === undefined ? '' : `, ${percentText(right / Math.max(1, known))} of them right`
  return `; ${percentText(known / Math.max(1, predictions))} have an outcome after ${fourDigits(delayMs / 3_600_000)} h${rightly}`
}

function frontTable(
  terminal: Terminal,
  {
    front,
    chosen,
    faults,
  }: Pick<SearchedPolicies, 'front' | 'chosen'> & { faults: readonly SearchedFault[] },
): string {
  const figure = (value: number) => String(Number(value.toPrecision(3)))
  const columns: Columns<PolicyScore> = {
    '': ({ name }) => (name === chosen?.name ? '→' : ''),
    stages: 'name',
    'hours to promotion': ({ hours }) => (hours === null ? '–' : figure(hours)),
    'false rollbacks': (each) => percentText(each.falseRollbacks),
    'better stopped or asked': (each) => percentText(each.betterStopped),
    'failures if bad': (each) => figure(each.expectedHarm),
    'at most (95 %)': (each) => figure(each.harmBound),
    ...Object.fromEntries(
      faults.map(({ name }, i) => [`finds ${name}`, (each: PolicyScore) => percentText(each.power[i] ?? 0)]),
    ),
  }
  return tableBy(terminal, front, columns, { keeps: ['stages', 'false rollbacks', 'failures if bad'] })
}

/** The settings of a plan that a search may change. */
const settingsIn = (policy: ReleasePolicy | undefined) =>
  policy && {
    stages: policy.stages,
    shadow: policy.shadow ?? null,
    probation: policy.probation ?? null,
    alpha: policy.limits.alpha,
  }

function settingsOf(given: Options[string]): SearchedSetting[] {
  const named = String(given ?? searchedSettings.join(',')).split(',')
  if (named.join() === 'none') return []
  const unknown = named.find((name) => !searchedSettings.some((each) => each === name))
  if (unknown !== undefined)
    throw usageError(`--settings is none or a list of ${searchedSettings.join(', ')}, not ${unknown}`)
  return searchedSettings.filter((each) => named.includes(each))
}

function modelFileLines(
  { stages, limits, shadow, probation }: ReleasePolicy,
  { limits: present, ...before }: ReleasePolicy,
): string {
  const { alpha } = limits
  const split = Object.entries(alpha).map(([test, part]: [string, number]) => `${test}: ${fourDigits(part)}`)
  const given = [
    ...(limits.harmBudget === present.harmBudget ? [] : [`harmBudget: ${limits.harmBudget}`]),
    ...(isEqualSplit(alpha, present.alpha) ? [] : [`alpha: { ${split.join(', ')} }`]),
  ]
  return [
    'In the model file:',
    '',
    '  release: canary({',
    '    stages: [',
    ...stages.map((stage) => `      ${stageText(stage)},`),
    '    ],',
    ...(shadow === before.shadow
      ? []
      : [`    shadow: ${shadow === undefined ? "'off'" : stageText(shadow)},`]),
    ...(probation === before.probation || probation === undefined
      ? []
      : [
          `    probation: { holdback: ${probation.holdbackBp / 100}, soak: '${soakText(probation)}', requests: ${probation.minRequests}, coverLabels: ${probation.coverLabels === true} },`,
        ]),
    ...(given.length === 0 ? [] : [`    limits: { ${given.join(', ')} },`]),
    '  }),',
  ].join('\n')
}

const stageText = (stage: StagePolicy): string =>
  `percent(${stage.shareBp / 100}, { soak: '${soakText(stage)}', requests: ${stage.minRequests} })`

function soakText({ minMs }: Pick<StagePolicy, 'minMs'>): string {
  if (minMs % 3_600_000 === 0) return `${minMs / 3_600_000} h`
  if (minMs % 60_000 === 0) return `${minMs / 60_000} min`
  return `${Math.ceil(minMs / 1_000)} s`
}

const isEqualSplit = (one: AlphaSplit, other: AlphaSplit): boolean =>
  (Object.keys(one) as (keyof AlphaSplit)[]).every(
    (test) => Math.abs((one[test] ?? 0) - (other[test] ?? 0)) < 1e-9,
  )

/** Returns Σα, without the rounding error of the sum. */
const alphaOf = ({ limits }: Pick<ReleasePolicy, 'limits'>): number =>
  Number(totalAlpha(limits.alpha).toFixed(9))
