/**
 * Writes the flight model for a faster clock: its own file with recorded times moved to the wall clock and every duration of its
 * policies shortened alike.
 */
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { modelsDirectory } from '../../../models/index.ts'
import { dayMs, hourMs, type SteppedClock } from './clock.ts'

export const halfYearModel = 'flight-delay'

export interface Sizes {
  trainRows: number
  testRows: number
}

/** Writes the model file to a directory. Throws if a line to replace is missing in the shipped file. */
export async function writeModel(clock: SteppedClock, sizes: Sizes): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tenure-half-year-'))
  let text = await readFile(join(modelsDirectory, `${halfYearModel}.ts`), 'utf8')
  for (const [from, to] of edits(clock, sizes)) {
    if (!text.includes(from))
      throw new Error(`models/${halfYearModel}.ts has no longer ${JSON.stringify(from)}`)
    text = text.replace(from, () => to)
  }
  await writeFile(join(directory, `${halfYearModel}.ts`), text)
  return directory
}

function edits(clock: SteppedClock, { trainRows, testRows }: Sizes): (readonly [from: string, to: string])[] {
  const span = (recordedMs: number) => `'${clock.shrunk(recordedMs)} ms'`
  const days = (count: number) => span(count * dayMs)
  const hours = (count: number) => span(count * hourMs)
  return [
    ["from './define.ts'", `from '${modelsDirectory}define.ts'`],
    ["from './data/airports.ts'", `from '${modelsDirectory}data/airports.ts'`],
    // Features use the recorded times; only event times are moved.
    ["eventTime: 'departedAt'", "eventTime: 'happenedAt'"],
    ["knownAt: 'knownAt'", "knownAt: 'toldAt'"],
    ["lookback: '2 d'", `lookback: ${days(2)}`],
    [
      'select\n        date as departedAt',
      `select *, ${moved(clock, 'departedAt')} as happenedAt, ${moved(clock, 'knownAt')} as toldAt from (select
        date as departedAt`,
    ],
    ['as knownAt\n      from source`', 'as knownAt\n      from source)`'],
    ["fresh('2 d')", `fresh(${days(2)})`],
    ['rowCount({ min: 20_000 })', 'rowCount({ min: 10_000 })'],
    [
      "byTime({ train: '21 d', test: '3 d', matured: '12 h', maxRows: { train: 80_000, test: 25_000 } })",
      `byTime({ train: ${days(21)}, test: ${days(3)}, matured: ${hours(12)}, maxRows: { train: ${trainRows}, test: ${testRows} } })`,
    ],
    [
      "stages: [percent(1), percent(5), percent(25), percent(50)],\n    soak: '10 min',\n    requests: 500,\n    deadline: '4 h',",
      releasing,
    ],
    ["probation: { holdback: 5, soak: '1 h', requests: 2_000, deadline: '1 d' },", probation],
    [
      "    // The training rows are a sample already, so those of three more days would not make them more.\n    refit: 'off',\n",
      '',
    ],
    ["approval: { by: 1, within: '2 d' },", "approval: { by: 0, within: '1 min' },"],
    [
      '  release: canary({',
      `  monitor: {
    every: ${days(1)},
    settle: '1 s',
    span: '${14 * clock.shrunk(dayMs / 2)} ms',
    count: '${clock.shrunk(dayMs / 2)} ms',
    outcomesWithin: ${days(2)},
    // Request counters use ten-second windows, which are days on this clock.
    silent: ${days(7)},
    outcomesStopped: ${days(2)},
    cooldown: {
      after: { drift: ${hours(24)}, quality: ${hours(6)}, labels: ${hours(24)} },
      max: ${days(7)},
      week: ${days(7)},
    },
  },
  release: canary({`,
    ],
  ]
}

/** SQL for the wall-clock time of a recorded time, to the microsecond. */
function moved(clock: SteppedClock, column: string): string {
  const atZeroUs = Math.round(clock.wallOf(0) * 1_000)
  return `make_timestamp(cast(${atZeroUs} + epoch_us(${column}) / ${clock.ratio} as bigint))`
}

/**
 * The release policy with seconds instead of hours. A few hundred requests cannot prove non-inferiority, so a stage passes
 * without evidence of harm; the latency limit is wide, because trainings load the same machine.
 */
const releasing = `shadow: percent(25, { soak: '2 s', requests: 40, deadline: '40 s' }),
    stages: [percent(5), percent(25), percent(50)],
    soak: '2 s',
    requests: 15,
    deadline: '40 s',
    watch: { tick: '500 ms', every: '500 ms', exposure: '5 s', acknowledge: '4 s', decision: '30 s' },
    whenInconclusive: 'end',
    drill: 'off',
    limits: { promotion: 'off', maxStaleMs: 5_000, slowRatio: 3, srm: { alpha: 0.001, tolerance: 0.5, designEffect: 50 } },`
const probation = "probation: { holdback: 5, soak: '3 s', requests: 150, deadline: '60 s' },"
