/**
 * Simulates the judges that need no failure (score shift, disagreement, hold-back), and the one after the probation. Prints their false
 * alarms on good releases, looked at after every tick, and what each needs to find a model that is worse.
 * `npm run bench:judgements -- <releases> <seed>`.
 */
import {
  defaultDisagreement,
  disagreementReason,
  reportDisagreement,
} from '../../domain/canary/disagreement.ts'
import { holdbackEvidence, judgeHoldback } from '../../domain/canary/holdback.ts'
import { judgeDecay, type DecayState } from '../../domain/monitoring/decay.ts'
import { defaultAlpha, totalAlpha } from '../../domain/sequential/alpha-split.ts'
import { defaultWorld, parseScenario } from '../../domain/simulation/scenario.ts'
import { simulateRelease } from '../../domain/simulation/simulate.ts'
import { seededRandom } from '../../domain/statistics/random.ts'
import { binomial } from '../../domain/statistics/random-variates.ts'
import { atMostText, hourPolicy, printRow, spreadText } from './table.ts'

const [releases = 1_000, seed = 1] = process.argv.slice(2).map(Number)
const hourMs = 3_600_000

console.log(`Σα = ${totalAlpha(defaultAlpha)}, seed ${seed}\n`)

printRow(
  'scenario',
  'releases',
  'promoted',
  'asked',
  'rolled back',
  'by a judge, at most (95 %)',
  'canary requests to act',
)
printRow('---', '--:', '--:', '--:', '--:', '--:', '--:')
const cells: [string, number][] = [
  ['good', releases],
  ['storm:1', releases],
  ['shift:0.1', releases / 5],
  ['shift:0.2', releases / 5],
  ['shift:0.3', releases / 5],
  ['shift:1', releases / 5],
  ['scale:2', releases / 5],
  ['scale:10', releases / 5],
  ['scale:0.1', releases / 5],
]
for (const [text, count] of cells) {
  const scenario = parseScenario(text)!
  const all = Array.from({ length: count }, (_, i) =>
    simulateRelease({
      policy: hourPolicy,
      scenario,
      world: defaultWorld,
      uniform: seededRandom(seed * 1e6 + i),
    }),
  )
  const of = (outcome: string) => all.filter((each) => each.outcome === outcome)
  const acted = all.filter(({ byVerdict, outcome }) => byVerdict || outcome === 'held').length
  const detected = all.flatMap(({ canaryRequestsToDetect: n }) => (n === undefined ? [] : [n]))
  printRow(
    text,
    count,
    of('promoted').length,
    of('held').length,
    of('rolled_back').length,
    atMostText(acted, count),
    spreadText(detected),
  )
}

/** Ten slices of 500 pairs each, looked at after every 250 pairs. */
function disagreement(rate: number, slice: number, uniform: () => number): number | undefined {
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
      defaultDisagreement,
      defaultAlpha.disagreement,
    )
    if (disagreementReason(report) !== null) return pairs
  }
  return undefined
}

console.log('')
printRow('decisions that flip', 'in one slice of ten', 'runs', 'asked', 'at most (95 %)', 'pairs to ask')
printRow('--:', '--:', '--:', '--:', '--:', '--:')
for (const [rate, slice, runs] of [
  [0.2, 0.2, releases],
  [0.25, 0.25, releases / 5],
  [0.3, 0.3, releases / 5],
  [0.05, 0.5, releases / 5],
  [0.05, 1, releases / 5],
] as const) {
  const uniform = seededRandom(seed + 17)
  const asked = Array.from({ length: runs }, () => disagreement(rate, slice, uniform)).filter(
    (pairs) => pairs !== undefined,
  )
  printRow(
    `${100 * rate} %`,
    `${100 * slice} %`,
    runs,
    asked.length,
    atMostText(asked.length, runs),
    spreadText(asked),
  )
}

/** Users in turn, 5 % of them at the hold-back; looked at ten times. */
function holdback(
  task: 'probability' | 'number',
  worse: number,
  users: number,
  uniform: () => number,
): number | undefined {
  const answered = []
  const output = task === 'number' ? { kind: task } : { kind: task, positive: 'yes', threshold: 0.5 }
  for (let i = 0; i < users; i++) {
    const arm = uniform() < 0.05 ? ('control' as const) : ('canary' as const)
    const p = uniform()
    const noise = uniform() + uniform() + uniform() - 1.5
    const spoilt = arm === 'canary' ? worse : 0
    // A probability that is off by √worse has a Brier score that is worse by it.
    const off = (uniform() < 0.5 ? 1 : -1) * Math.sqrt(spoilt)
    const outputs = task === 'number' ? [noise * 0.4 * (1 + spoilt)] : [p + off]
    answered.push({
      arm,
      atMs: i,
      outputs,
      value: task === 'number' ? 0 : Number(uniform() < p),
      arrivedMs: i,
    })
    if ((i + 1) % (users / 10) > 0) continue
    const evidence = holdbackEvidence(answered, { output, scale: 1, nowMs: i + 1, block: 19 })
    if (evidence && judgeHoldback(evidence, defaultAlpha.quality, 0.001).reason !== null) return i + 1
  }
  return undefined
}

console.log('')
printRow('new champion', 'runs', 'rolled back', 'at most (95 %)', 'outcomes to act')
printRow('---', '--:', '--:', '--:', '--:')
for (const [name, task, worse, runs, users] of [
  ['as good (Brier)', 'probability', 0, releases, 20_000],
  ['as good (absolute error)', 'number', 0, releases, 20_000],
  ['Brier worse by 0.01', 'probability', 0.01, releases / 50, 200_000],
  ['Brier worse by 0.03', 'probability', 0.03, releases / 50, 100_000],
  ['absolute error worse by 5 %', 'number', 0.05, releases / 50, 200_000],
  ['absolute error worse by 20 %', 'number', 0.2, releases / 50, 100_000],
] as const) {
  const uniform = seededRandom(seed + 29)
  const found = Array.from({ length: runs }, () => holdback(task, worse, users, uniform)).filter(
    (outcomes) => outcomes !== undefined,
  )
  printRow(name, runs, found.length, atMostText(found.length, runs), spreadText(found))
}

/** Windows of an hour until a champion past its probation gives way, at most as many as given. */
function decayed(rate: number, requests: number, windows: number, uniform: () => number): number | undefined {
  let state: DecayState | undefined
  for (let window = 1; window <= windows; window++) {
    const facts = { version: 'v', requests, bad: binomial(uniform, requests, rate), qualityAlarm: undefined }
    const judged = judgeDecay(facts, state, { errorAlarm: 0.02, everyMs: hourMs, minRequests: 200 })
    if (judged.finding !== undefined) return window
    ;({ state } = judged)
  }
  return undefined
}

console.log('')
printRow(
  'failing requests',
  'requests an hour',
  'runs of 1,000 hours',
  'acted',
  'at most (95 %)',
  'hours to act',
)
printRow('--:', '--:', '--:', '--:', '--:', '--:')
for (const [rate, requests, runs] of [
  [0.01, 1_000, releases / 5],
  [0.02, 1_000, releases / 5],
  [0.02, 100, releases / 5],
  [0.025, 1_000, releases / 5],
  [0.03, 1_000, releases / 5],
  [0.03, 100, releases / 5],
  [0.05, 1_000, releases / 5],
  [0.05, 100, releases / 5],
  [0.1, 100, releases / 5],
] as const) {
  const uniform = seededRandom(seed + 41)
  const hours = Array.from({ length: runs }, () => decayed(rate, requests, 1_000, uniform)).filter(
    (each) => each !== undefined,
  )
  printRow(`${100 * rate} %`, requests, runs, hours.length, atMostText(hours.length, runs), spreadText(hours))
}
