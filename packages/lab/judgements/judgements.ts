/**
 * Simulates the judges that need no failures (score shift, disagreement, holdback). Prints their false alarms on good releases, evaluated after
 * every tick, how much data each needs to detect a worse model, and what several replicas make of a user. `npm run bench -- judgements
 * <releases> <seed> [shifts | bugs | release | guards | disagreement | holdback | replicas]`.
 */
import {
  defaultDisagreement,
  disagreementReason,
  reportDisagreement,
} from '../../../domain/canary/disagreement.ts'
import { defaultScoreShift } from '../../../domain/canary/score-shift.ts'
import { blocksOf, judgeHoldback, lossCounter } from '../../../domain/canary/holdback.ts'
import { defaultAlpha, totalAlpha } from '../../../domain/canary/alpha-split.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import { defaultWorld, parseScenario } from '../../../domain/simulation/scenario.ts'
import { simulateRelease } from '../../../domain/simulation/simulate.ts'
import { binomial, seededRandom } from '@tenure/sequential'
import { hourPolicy } from '../../../test/support/release/hour-policy.ts'
import { shiftOfEqualVersions, verdictOnStorm } from '../../../test/support/serving/counted-replicas.ts'
import { betterWorlds, bugs, equalWorlds, playWorld, type Played } from './shifts.ts'
import { atMostText, printRow, spreadText } from './table.ts'

const [releases = 1_000, seed = 1] = process.argv.slice(2, 4).map(Number)
const only = process.argv[4]

console.log(`Σα = ${totalAlpha(defaultAlpha)}, seed ${seed}\n`)

/** Simulates what each guard stops: of equal candidates, of better ones that answer otherwise, and of bad ones. */
function guardsTable(): void {
  const hourMs = 3_600_000
  const stage = { minMs: hourMs / 2, minRequests: 1_000, deadlineMs: 8 * hourMs }
  const whole = {
    ...hourPolicy,
    shadow: { ...stage, shareBp: 10_000 },
    probation: { ...stage, minMs: hourMs, holdbackBp: 500 },
  }
  const unshadowed = { ...whole, shadow: undefined }
  printRow('scenario', 'releases', 'stopped by', 'requests of the candidate until then, copies included')
  printRow('---', '--:', '---', '--:')
  for (const [text, policy, of] of [
    ['good', whole, releases],
    ['base-rate:0.2:0.3', whole, releases],
    ['base-rate:0.3:0.2', whole, releases],
    ['better:0.2', whole, releases],
    ['error:0.02', whole, releases / 4],
    ['error:1', whole, releases / 4],
    ['latency:1.5', whole, releases / 4],
    ['worse:0.02', whole, releases / 4],
    ['worse:0.05', unshadowed, releases / 4],
    ['slice:evening:0.5', whole, releases / 4],
    ['scale:10', whole, releases / 4],
  ] as const) {
    const stopped = new Map<string, number[]>()
    for (let i = 0; i < of; i++) {
      const { stoppedBy, minutes, canaryRequests } = simulateRelease({
        policy,
        scenario: parseScenario(text)!,
        world: defaultWorld,
        uniform: seededRandom(seed * 1e6 + i),
      })
      if (stoppedBy === undefined) continue
      // In the shadow the candidate gets a copy of every second counted request.
      const copied = policy.shadow === undefined ? 0 : Math.min(minutes, 30) * 60
      const found = stopped.get(stoppedBy) ?? []
      stopped.set(stoppedBy, [...found, canaryRequests + (copied * defaultWorld.requestsPerSecond) / 2])
    }
    const by = [...stopped].map(([code, requests]) => `${code} ${requests.length}`).join(', ')
    const requests = [...stopped].map(([code, found]) => `${code} ${spreadText(found)}`).join(', ')
    printRow(policy === whole ? text : `${text}, no shadow`, of, by || 'none', requests || '–')
  }
}

/** Simulates releases of the whole policy: the reducer and all its judges. */
function releaseTable(): void {
  printRow(
    'scenario',
    'tolerance',
    'releases',
    'promoted',
    'asked',
    'rolled back',
    'by a judge, at most (95 %)',
    'canary requests to act',
  )
  printRow('---', '--:', '--:', '--:', '--:', '--:', '--:', '--:')
  for (const [text, tolerance] of [
    ['good', 0.5],
    ['storm:1', 0.5],
    ['shift:0.2', 0.5],
    ['shift:0.2', 0.1],
    ['shift:0.7', 0.5],
    ['shift:1', 0.5],
    ['scale:2', 0.5],
    ['scale:10', 0.5],
    ['scale:0.1', 0.5],
  ] as const) {
    const scenario = parseScenario(text)!
    const limits = { ...hourPolicy.limits, scoreShift: { ...defaultScoreShift, tolerance } }
    const all = Array.from({ length: releases }, (_, i) =>
      simulateRelease({
        policy: { ...hourPolicy, limits },
        scenario,
        // All judges together: those of pairs take part as well.
        world: { ...defaultWorld, mirrored: true },
        uniform: seededRandom(seed * 1e6 + i),
      }),
    )
    const of = (outcome: string) => all.filter((each) => each.outcome === outcome)
    const acted = all.filter(({ byVerdict, outcome }) => byVerdict || outcome === 'held')
    printRow(
      text,
      `${100 * tolerance} %`,
      releases,
      of('promoted').length,
      of('held').length,
      of('rolled_back').length,
      atMostText(acted.length, releases),
      spreadText(acted.map(({ canaryRequests }) => canaryRequests)),
    )
  }
}

/** Simulates ten slices of 500 pairs each, evaluated after every 250 pairs. */
function disagreement(
  { rate, slice, max }: { rate: number; slice: number; max: number },
  uniform: () => number,
): number | undefined {
  const sum = (counts: readonly number[][]) =>
    [0, 1].map((i) => counts.reduce((total, each) => total + each[i]!, 0))
  const counts = Array.from({ length: 10 }, () => [0, 0])
  for (let pairs = 250; pairs <= 5_000; pairs += 250) {
    for (const [i, each] of counts.entries()) {
      const flipped = binomial(uniform, 25, i === 0 ? slice : rate)
      each[0]! += 25 - flipped
      each[1]! += flipped
    }
    const slices = counts.map((distances, i) => ({ name: `${i}`, distances }))
    const all = { name: 'all', distances: sum(counts) }
    const report = reportDisagreement(
      { measure: 'decisions', all, slices, changes: [] },
      { ...defaultDisagreement, max },
      defaultAlpha.disagreement,
    )
    if (disagreementReason(report) !== null) return pairs
  }
  return undefined
}

function disagreementTable(): void {
  printRow(
    'limit',
    'decisions that flip',
    'in one slice of ten',
    'runs',
    'asked',
    'at most (95 %)',
    'pairs to ask',
  )
  printRow('--:', '--:', '--:', '--:', '--:', '--:', '--:')
  for (const [max, rate, slice] of [
    [0.2, 0.2, 0.2],
    [0.2, 0.25, 0.25],
    [0.2, 0.3, 0.3],
    [0.2, 0.05, 0.5],
    [0.2, 0.05, 1],
    [0.02, 0.02, 0.02],
    [0.02, 0.05, 0.05],
  ] as const) {
    const uniform = seededRandom(seed + 17)
    const asked = Array.from({ length: releases }, () => disagreement({ rate, slice, max }, uniform)).filter(
      (pairs) => pairs !== undefined,
    )
    printRow(
      `${100 * max} %`,
      `${100 * rate} %`,
      `${100 * slice} %`,
      releases,
      asked.length,
      atMostText(asked.length, releases),
      spreadText(asked),
    )
  }
}

/** Simulates users in turn, 5 % of them in the holdback, evaluated ten times. */
function holdback(
  task: 'probability' | 'number',
  worse: number,
  users: number,
  uniform: () => number,
): number | undefined {
  const output: Output = task === 'number' ? { kind: task } : { kind: task, positive: 'yes', threshold: 0.5 }
  const by = { output, scales: [1] }
  const counter = lossCounter({
    // The loss of numbers is that of a gate by MAE.
    judged: { loss: task === 'number' ? 'mae' : 'brier' },
    by: { canary: by, control: by },
    blocks: blocksOf(9_500),
  })
  for (let i = 0; i < users; i++) {
    const arm = uniform() < 0.05 ? ('control' as const) : ('canary' as const)
    const p = uniform()
    const noise = uniform() + uniform() + uniform() - 1.5
    const spoilt = arm === 'canary' ? worse : 0
    // A probability that is off by √worse has a Brier score that is worse by it.
    const off = (uniform() < 0.5 ? 1 : -1) * Math.sqrt(spoilt)
    const outputs = task === 'number' ? [noise * 0.4 * (1 + spoilt)] : [p + off]
    counter.add({ arm, atMs: i, outputs, value: task === 'number' ? 0 : Number(uniform() < p) })
    if ((i + 1) % (users / 10) > 0) continue
    const losses = counter.losses()
    if (losses && judgeHoldback(losses, defaultAlpha.quality, 0.001).reason !== null) return i + 1
  }
  return undefined
}

function holdbackTable(): void {
  printRow('new champion', 'runs', 'rolled back', 'at most (95 %)', 'outcomes to act')
  printRow('---', '--:', '--:', '--:', '--:')
  for (const [name, task, worse, users] of [
    ['as good (Brier)', 'probability', 0, 20_000],
    ['as good (absolute error)', 'number', 0, 20_000],
    ['Brier worse by 0.01', 'probability', 0.01, 200_000],
    ['Brier worse by 0.03', 'probability', 0.03, 100_000],
    ['absolute error worse by 5 %', 'number', 0.05, 200_000],
    ['absolute error worse by 20 %', 'number', 0.2, 100_000],
  ] as const) {
    const uniform = seededRandom(seed + 29)
    const found = Array.from({ length: releases }, () => holdback(task, worse, users, uniform)).filter(
      (outcomes) => outcomes !== undefined,
    )
    printRow(name, releases, found.length, atMostText(found.length, releases), spreadText(found))
  }
}

/** Users whom a balancer spreads over all replicas: counted once over all, and at each replica by itself. */
function replicasTable(): void {
  printRow(
    'replicas',
    'a user counts',
    'runs',
    'equal: asked',
    'rolled back',
    'one caller fails: rolled back',
    'fifty fail: rolled back',
  )
  printRow('--:', '---', '--:', '--:', '--:', '--:', '--:')
  for (const replicas of [1, 2, 3, 4, 8, 10, 16])
    for (const apart of [false, true]) {
      const outcomes = Array.from({ length: releases }, (_, i) =>
        shiftOfEqualVersions({ replicas, apart }, seed * 1e6 + i),
      )
      const share = (outcome: string) =>
        `${Number(((100 * outcomes.filter((each) => each === outcome).length) / releases).toPrecision(3))} %`
      const storms = Math.ceil(releases / 10)
      const after = (callers: number) =>
        `${runsOf(storms, replicas, (own) => verdictOnStorm({ replicas, apart }, callers, own)).filter(({ kind }) => kind === 'fail').length} of ${storms}`
      const how = apart ? 'at each replica' : 'once'
      printRow(replicas, how, releases, share('asked'), share('rolled back'), after(1), after(50))
    }
}

/** Simulates what becomes of candidates that are better and answer otherwise, and of equal ones. */
function shiftsTable(): void {
  printRow(
    'candidate',
    'answer that moves most, in the gate',
    'runs',
    'rolled back',
    'at most (95 %)',
    'asked',
    'by',
  )
  printRow('---', '--:', '--:', '--:', '--:', '--:', '---')
  for (const [place, world] of [...betterWorlds, ...equalWorlds].entries()) {
    const all = runsOf(releases, place, (own) =>
      playWorld(world, own, { users: 10_000, tick: 100, looks: 5 }),
    )
    const of = (end: Played['end']) => all.filter((each) => each.end === end).length
    const { champion, candidate } = all[0]!.moved
    printRow(
      world.name,
      `${percent(champion)} → ${percent(candidate)}`,
      releases,
      of('rolled back'),
      atMostText(of('rolled back'), releases),
      of('asked'),
      codesOf(all),
    )
  }
}

/** Simulates planted bugs of serving, with rows that are compared with the training path, and without any. */
function bugsTable(): void {
  printRow('bug', 'rows are compared', 'runs', 'stopped', 'by', 'requests until then')
  printRow('---', '---', '--:', '--:', '---', '--:')
  for (const [place, world] of bugs.entries())
    for (const isCompared of [true, false]) {
      const size = { users: 10_000, tick: 20, looks: 1, isCompared }
      const all = runsOf(releases, 100 + place, (own) => playWorld(world, own, size))
      const stopped = all.filter(({ end }) => end !== 'passed')
      const requests = spreadText(stopped.map((each) => each.requests))
      printRow(world.name, isCompared ? 'yes' : 'no', releases, stopped.length, codesOf(all), requests)
    }
}

/** Runs of a place in a table, each with a seed of its own. */
const runsOf = <T>(runs: number, place: number, run: (seed: number) => T): T[] =>
  Array.from({ length: runs }, (_, i) => run((seed * 1_000 + place) * 1e5 + i))

const percent = (share: number) => `${(100 * share).toFixed(1)} %`

/** How many each test has rolled back or asked about. */
function codesOf(all: readonly Played[]): string {
  const counts = new Map<string, number>()
  for (const { end, code } of all)
    if (code !== undefined) {
      const text = end === 'asked' ? `${code} asks` : code
      counts.set(text, (counts.get(text) ?? 0) + 1)
    }
  return [...counts].map(([code, count]) => `${code} ${count}`).join(', ') || '–'
}

const tables = {
  shifts: shiftsTable,
  bugs: bugsTable,
  release: releaseTable,
  guards: guardsTable,
  disagreement: disagreementTable,
  holdback: holdbackTable,
  replicas: replicasTable,
}
for (const [name, print] of Object.entries(tables)) {
  if (only !== undefined && only !== name) continue
  print()
  console.log('')
}
