/**
 * Counts the alarms of drift on simulated months in which nothing drifts, and the hours until a shift alarms:
 * `npm run bench -- drift --months 30`. With `--zeros 0.95`, this share of each feature is 0.
 */
import { parseArgs } from 'node:util'
import { backtestDrift } from '../../../domain/monitoring/drift-backtest.ts'
import type { CountedHour } from '../../../domain/monitoring/drift-history.ts'
import { countBins, numberProfile, type ReferenceProfile } from '../../../domain/model/reference-profile.ts'
import { quantileOfSorted, seededRandom, standardNormal } from '@tenure/sequential'

const { values: given } = parseArgs({
  options: { months: { type: 'string', default: '30' }, zeros: { type: 'string', default: '0' } },
})
const [months, zeros] = [Number(given.months), Number(given.zeros)]
const hourMs = 3_600_000
const hoursOfMonth = 720
const features = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']
const shiftAt = 360

function history(
  seed: number,
  rowsPerHour: number,
  shift: number,
): { profile: ReferenceProfile; hours: CountedHour[] } {
  const uniform = seededRandom(seed)
  const normal = () => standardNormal(uniform)
  const value = () => (zeros > 0 && uniform() < zeros ? 0 : normal())
  const values = (n: number, by = 0) => Array.from({ length: n }, () => value() + by)
  const profiles = features.map((name) => numberProfile(name, values(10_000)))
  const hours = Array.from({ length: hoursOfMonth }, (_, hour): CountedHour => {
    const by = (index: number) => (index === 0 && hour >= shiftAt ? shift : 0)
    return {
      hourMs: hour * hourMs,
      counts: {
        features: Object.fromEntries(
          profiles.map((profile, i) => [profile.name, countBins(profile, values(rowsPerHour, by(i)))]),
        ),
      },
    }
  })
  return { profile: { rows: 10_000, features: profiles }, hours }
}

const one = (seed: number, rowsPerHour: number, shift: number) =>
  backtestDrift({ ...history(seed, rowsPerHour, shift), everyMs: hourMs, lengthMs: 24 * hourMs })

const alarmText = (hours: number | null): string =>
  hours === null || hours === Infinity ? 'no alarm in the median' : `alarm after ${hours} h in the median`

process.stdout.write(`${months} months of ${features.length} features each, windows of 24 h\n`)
for (const rowsPerHour of [15, 50, 200]) {
  const tested = Array.from({ length: months }, (_, i) => one(i + 1, rowsPerHour, 0))
  const alerts = tested.reduce((sum, each) => sum + each.alerts, 0)
  const warned = tested.reduce(
    (sum, each) => sum + each.subjects.reduce((all, { warnings }) => all + warnings, 0),
    0,
  )
  process.stdout.write(
    `${rowsPerHour} rows an hour, no drift: ${alerts} alarms, ${warned} windows of a feature in warning\n`,
  )
  for (const shift of [0.3, 0.5, 1]) {
    const hours = Array.from({ length: Math.ceil(months / 5) }, (_, i) => {
      const first = one(i + 1, rowsPerHour, shift).subjects.find(({ name }) => name === 'a')?.alarmedMs[0]
      return first === undefined ? Infinity : first / hourMs - shiftAt
    }).sort((a, b) => a - b)
    process.stdout.write(
      `${rowsPerHour} rows an hour, one mean moved by ${shift} standard deviations: ${alarmText(quantileOfSorted(hours, 0.5))}\n`,
    )
  }
}
