/**
 * Says whether a figure of a window is beyond a limit with certainty. The windows of a year are many and often small, so a figure that
 * is beyond a limit by chance must neither alarm nor resolve an alert.
 */
import {
  bootstrap,
  type BootstrapOptions,
  normalQuantile,
  rateInterval,
  type Statistic,
} from '@tenure/sequential'

/** The probability that a window whose true figure equals the limit seems to be beyond it. */
export const windowAlpha = 0.001
/** The resamples of a standard error, whose own error they limit to 5 %. */
const resamples = 200

/**
 * - `none`: the measured figure is within the limit.
 * - `doubtful`: it is beyond the limit, perhaps by chance.
 * - `certain`: it is beyond the limit, and chance does not explain it.
 */
export type Breach = 'none' | 'doubtful' | 'certain'

/** `excess`: how far the figure is beyond its limit. Without a standard error nothing is certain. */
export function breachOf(excess: number, error: number | null): Breach {
  if (!(excess > 0)) return 'none'
  const least = certainExcess(excess, error)
  return least !== null && least > 0 ? 'certain' : 'doubtful'
}

/** The excess that remains after the reach of chance. */
export const certainExcess = (excess: number, error: number | null): number | null =>
  error === null ? null : excess - normalQuantile(1 - windowAlpha)! * error

/**
 * The standard error by which a value is compared with a limit. A low share varies less than a higher one, so a window that is low by
 * chance would seem certain: the error is at least that of a share at the limit.
 */
export function errorAtLimit(
  error: number | null,
  { isShare, value, limit, rows }: { isShare: boolean; value: number; limit: number; rows: number },
): number | null {
  const [found, atLimit] = [value * (1 - value), limit * (1 - limit)]
  if (!isShare || error === null || atLimit <= found) return error
  return found === 0 ? Math.sqrt(atLimit / Math.min(rows, positives)) : error * Math.sqrt(atLimit / found)
}

/** How many rows a share of 0 or 1 has at least, by default: a recall has the positives of the window, not all rows. */
const positives = 100

/**
 * The interval of 95 % of a metric. A share has that of Clopper and Pearson, for as many rows as have its standard error: it is not empty at 0
 * or 1, where the rows show no error. Null when undefined.
 */
export function intervalOf({
  value,
  error,
  rows,
  isShare,
}: {
  value: number
  error: number | null
  rows: number
  isShare: boolean
}): { low: number; high: number } | null {
  if (!isShare) {
    const reach = error === null ? null : normalQuantile(0.975)! * error
    return reach === null ? null : { low: value - reach, high: value + reach }
  }
  const draws = error === null || error === 0 ? Math.min(rows, positives) : (value * (1 - value)) / error ** 2
  return draws > 0 ? rateInterval(value * draws, draws, 0.95) : null
}

/**
 * The standard error by which a mean is compared with a limit farther from 0. Where few rows have a value, such as purchases, a window with
 * few of them by chance has a small error too: the error is at least that of as many of these values as reach the limit.
 */
export function meanErrorAtLimit(
  error: number | null,
  { value, limit, draws }: { value: number; limit: number; draws: number },
): number | null {
  if (error === null || value * limit < 0 || Math.abs(limit) <= Math.abs(value)) return error
  if (value !== 0) return error * Math.sqrt(limit / value)
  return error === 0 ? Math.abs(limit) * Math.sqrt(rowsOfValue / draws) : error
}

/** Of a window of zeros, how many rows have one value at the limit: then it is certain from about a thousand rows on. */
const rowsOfValue = 100

export interface FloorBreach {
  /**
   * - `held`: within both floors.
   * - `doubtful`: beyond a floor, perhaps by chance.
   * - `warning`, `critical`: certainly beyond the floor that warns, or that alarms.
   */
  level: 'held' | 'doubtful' | 'warning' | 'critical'
  /** Whether the value is beyond the floor that alarms. */
  alarm: Breach
  /** The floor that `level` is about; null when it is held. */
  limit: number | null
  /** For messages: "certainly below the limit 0.85, not certainly below 0.8". */
  text: string
}

/**
 * Compares a value with its floors, of which the one that warns comes first; they are ceilings where lower is better. `errorAt`: the standard
 * error by which it is compared with a limit.
 */
export function compareFloors(
  { value, errorAt }: { value: number; errorAt: (limit: number) => number | null },
  { warn, alarm, higherIsBetter }: { warn?: number; alarm?: number; higherIsBetter: boolean },
): FloorBreach {
  const breach = (limit: number | undefined): Breach =>
    limit === undefined ? 'none' : breachOf(higherIsBetter ? limit - value : value - limit, errorAt(limit))
  const beyond = { warn: breach(warn), alarm: breach(alarm) }
  if (beyond.warn === 'none' && beyond.alarm === 'none')
    return { level: 'held', alarm: 'none', limit: null, text: '' }
  const level = beyond.alarm === 'certain' ? 'critical' : beyond.warn === 'certain' ? 'warning' : 'doubtful'
  const limit = (level === 'critical' ? alarm : (warn ?? alarm))!
  const side = higherIsBetter ? 'below' : 'above'
  const isAlarmOpen = beyond.alarm === 'doubtful' && limit !== alarm
  const text =
    `${level === 'doubtful' ? 'not certainly' : 'certainly'} ${side} the limit ${limit}` +
    (isAlarmOpen ? `, not certainly ${side} ${alarm}` : '')
  return { level, alarm: beyond.alarm, limit, text }
}

const fewKeys = 30

/** Undefined for fewer routing keys, which do not show how much they differ, and for one row of each: each row counts by itself then. */
export function repeatedKeys(entities: readonly string[]): readonly string[] | undefined {
  const keys = new Set(entities).size
  return keys < fewKeys || keys === entities.length ? undefined : entities
}

/** The larger one of the errors of rows and of routing keys. `errorOf` returns that of rows without entities; null when undefined. */
export function largerError(
  routingKeys: readonly string[],
  errorOf: (entities?: readonly string[]) => number | null,
): number | null {
  const entities = repeatedKeys(routingKeys)
  const byRow = errorOf()
  const byKey = entities === undefined ? byRow : errorOf(entities)
  return byRow === null || byKey === null ? null : Math.max(byRow, byKey)
}

/** The standard error of a metric of a window. Null when the metric is undefined in most resamples. */
export const metricError = (
  statistic: Statistic,
  { routingKeys, seed }: { routingKeys: readonly string[]; seed: number },
): number | null =>
  largerError(routingKeys, (entities) =>
    bootstrapError(statistic, routingKeys.length, { resamples, seed, entities }),
  )

/** The standard error of the change of a figure since the evaluation, whose rows vary as those of the window do. */
export const errorOfChange = (
  error: number | null,
  { rows, baselineRows }: { rows: number; baselineRows: number },
): number | null => (error === null ? null : error * Math.sqrt(1 + rows / baselineRows))

function bootstrapError(statistic: Statistic, rows: number, options: BootstrapOptions): number | null {
  const [values = new Float64Array(0)] = bootstrap([statistic], rows, options)
  if (values.length < 0.95 * resamples) return null
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1))
}
