/**
 * Counts the alarms of drift on simulated months in which nothing drifts, without and with cycles, and the hours until a shift alarms; each
 * beside a reference of the training rows alone: `npm run bench -- drift --months 30`. With `--zeros 0.95`, this share of each feature is 0.
 */
import { parseArgs } from 'node:util'
import { backtestDrift } from '../../../domain/monitoring/drift-backtest.ts'
import type { CountedHour, DriftTuning } from '../../../domain/monitoring/drift-history.ts'
import {
  countBins,
  numberProfile,
  withCycle,
  type ReferenceProfile,
} from '../../../domain/model/reference-profile.ts'
import { quantileOfSorted, seededRandom, standardNormal } from '@tenure/sequential'

const { values: given } = parseArgs({
  options: { months: { type: 'string', default: '30' }, zeros: { type: 'string', default: '0' } },
})
const [months, zeros] = [Number(given.months), Number(given.zeros)]
const hourMs = 3_600_000
const weekHours = 168
const features = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']
/** Eight weeks of training rows end where the served ones begin. */
const [trainingHours, trainingRows] = [8 * weekHours, 20_000]
const shiftAt = 16 * 24

const dayOf = (hour: number): number => Math.floor(hour / 24)
const isWeekend = (hour: number): boolean => dayOf(hour) % 7 >= 5
/** The value of feature `a` without drift, by the hour since the training began. */
const cycles: Readonly<Record<string, (hour: number, normal: () => number) => number>> = {
  'no cycle': (_hour, normal) => normal(),
  'the mean of weekends is 0.8 standard deviations higher': (hour, normal) =>
    normal() + (isWeekend(hour) ? 0.8 : 0),
  'the mean of weekends is 1.2 standard deviations higher': (hour, normal) =>
    normal() + (isWeekend(hour) ? 1.2 : 0),
  'a column of the weekday': (hour) => dayOf(hour) % 7,
  'a column of the hour': (hour) => hour % 24,
  'the last three days of a month of 30 days are 0.8 higher': (hour, normal) =>
    normal() + (dayOf(hour) % 30 >= 27 ? 0.8 : 0),
  'two days of every 45 are holidays, 1.2 higher': (hour, normal) =>
    normal() + (dayOf(hour + 20 * 24) % 45 < 2 ? 1.2 : 0),
}

interface Simulated {
  seed: number
  rowsPerHour: number
  hours: number
  shift?: number
  cycle?: string
}

function history({ seed, rowsPerHour, hours, shift = 0, cycle = 'no cycle' }: Simulated): {
  profile: ReferenceProfile
  hours: CountedHour[]
} {
  const uniform = seededRandom(seed)
  const normal = () => standardNormal(uniform)
  const valueOf = (index: number, hour: number): number => {
    if (index > 0 || cycle === 'no cycle') return zeros > 0 && uniform() < zeros ? 0 : normal()
    return cycles[cycle]!(hour, normal)
  }
  const trainedMs = Float64Array.from({ length: trainingRows }, () => uniform() * trainingHours * hourMs)
  const profiles = features.map((name, index) => {
    const values = Array.from(trainedMs, (ms) => valueOf(index, Math.floor(ms / hourMs)))
    return withCycle(numberProfile(name, values), (row) => values[row]!, trainedMs)
  })
  const served = Array.from({ length: hours }, (_, at): CountedHour => {
    const hour = trainingHours + at
    const by = (index: number) => (index === 0 && at >= shiftAt ? shift : 0)
    const counted = profiles.map((profile, i) => {
      const values = Array.from({ length: rowsPerHour }, () => valueOf(i, hour) + by(i))
      return [profile.name, countBins(profile, values)] as const
    })
    return { hourMs: hour * hourMs, counts: { features: Object.fromEntries(counted) } }
  })
  return { profile: { rows: trainingRows, features: profiles }, hours: served }
}

/** Beside the default: the training rows alone, without cycles. */
const references: readonly DriftTuning[] = [{ referenceMs: [] }, {}]
const tested = (simulated: Simulated) => {
  const served = history(simulated)
  return references.map((tuning) =>
    backtestDrift({ ...served, everyMs: hourMs, lengthMs: 24 * hourMs }, tuning),
  )
}
const say = (line: string) => void process.stdout.write(`${line}\n`)
const sums = (all: readonly number[][]) =>
  references.map((_, which) => all.reduce((sum, each) => sum + each[which]!, 0)).join(' → ')

say(
  `${features.length} features each, windows of 24 h; training rows alone → also the same hours of earlier weeks`,
)
for (const rowsPerHour of [15, 50, 200]) {
  const quiet = Array.from({ length: months }, (_, i) => tested({ seed: i + 1, rowsPerHour, hours: 720 }))
  const warned = ({ subjects }: ReturnType<typeof backtestDrift>) =>
    subjects.reduce((all, { warnings }) => all + warnings, 0)
  say(
    `${rowsPerHour} rows an hour, ${months} months without drift: ${sums(quiet.map((each) => each.map(({ alerts }) => alerts)))} alarms, ` +
      `${sums(quiet.map((each) => each.map(warned)))} windows of a feature in warning`,
  )
}
const longMonths = Math.ceil(months / 3)
for (const [rowsPerHour, cycle] of [50, 200].flatMap((rows) =>
  Object.keys(cycles).map((each) => [rows, each] as const),
)) {
  const { alerts, inAlarm } = { alerts: [0, 0], inAlarm: [0, 0] }
  const all = tested({ seed: 611, rowsPerHour, hours: longMonths * 720, cycle })
  all.forEach((each, which) => {
    alerts[which] = each.alerts
    inAlarm[which] = each.subjects.reduce((sum, { alarms }) => sum + alarms, 0)
  })
  say(
    `${rowsPerHour} rows an hour, ${longMonths} months, ${cycle}: ${alerts.join(' → ')} alarms, ${inAlarm.join(' → ')} windows in alarm`,
  )
}
const median = (hours: number[]): string => {
  const value = quantileOfSorted(
    hours.toSorted((a, b) => a - b),
    0.5,
  )
  return value === null || value === Infinity ? 'none' : `${value} h`
}
for (const [rowsPerHour, shift, cycle] of [15, 50, 200].flatMap((rows) =>
  [0.3, 0.5, 1].flatMap((by) =>
    Object.keys(cycles)
      .slice(0, 3)
      .map((each) => [rows, by, each] as const),
  ),
)) {
  const found = Array.from({ length: Math.ceil(months / 5) }, (_, i) =>
    tested({ seed: i + 1, rowsPerHour, hours: 720, shift, cycle }).map(({ subjects }) => {
      const alarmedMs = subjects.find(({ name }) => name === 'a')?.alarmedMs ?? []
      const first = alarmedMs.find((ms) => ms / hourMs - trainingHours >= shiftAt)
      return first === undefined ? Infinity : first / hourMs - trainingHours - shiftAt
    }),
  )
  say(
    `${rowsPerHour} rows an hour, a mean moved by ${shift} standard deviations, ${cycle}: first alarm in the median after ` +
      references.map((_, which) => median(found.map((each) => each[which]!))).join(' → '),
  )
}
