/**
 * Makes eleven failures of models as replayable cases: a rotating hyperplane of six weeks, made from a seed, whose third week is the first
 * with the failure. Failures that the year of `../worth/` has too are its incidents.
 */
import { createHash } from 'node:crypto'
import {
  daysAWeek,
  incidents,
  playWeek,
  upstream,
  type Incident,
  type PlayedWeek,
} from '../worth/incidents.ts'
import { hyperplaneStream, leadWeeks, type StreamRow, type YearStream } from '../worth/streams.ts'
import { guardedFeatures } from '../worth/versions.ts'

export interface Case {
  name: string
  /** What happens to a team in such a failure. */
  about: string
  /** What changes in the rows. */
  change: string
  /** Weeks with the failure; those after it have sound rows again. */
  weeks: number
  play?: Incident['play']
  /** Changes how an answered request is recorded in the table. */
  recorded?: (request: StreamRow, answer: number, stream: YearStream) => StreamRow
}

export const caseWeeks = 6
/** The week with whose first request the failure begins. */
export const truthWeek = 2
export const truthDay = daysAWeek * truthWeek
const lasting = caseWeeks - truthWeek

/** Takes the change of rows of an incident of a year. */
function ofYear(name: string): NonNullable<Incident['play']> {
  return incidents.find((each) => each.name === name)!.play!
}

/** Returns the rows of a week as they are, with other rows in the table. */
const inTable = (requests: StreamRow[], table: StreamRow[]): PlayedWeek => ({ requests, table })

export const cases: readonly Case[] = [
  {
    name: 'unit change',
    about: 'Another team changes the unit of a field and tells nobody. It is repaired after a week.',
    change: 'x1 is sent a thousand times as large, in requests and table',
    weeks: 1,
    play: ofYear('unit'),
  },
  {
    name: 'frozen feature',
    about: 'A feature store stops updating and serves its last value for a week.',
    change: 'x1 has one value, in requests and table',
    weeks: 1,
    play: ofYear('frozen'),
  },
  {
    name: 'duplicated campaign',
    about: 'The events of one campaign are ingested six times. Nobody removes the copies.',
    change:
      'the rows of region east with the label "yes" are six times in the table for a week, with the same ids',
    weeks: 1,
    play: (rows, { columns: { region }, regions }) =>
      inTable(
        rows,
        rows.flatMap((row) =>
          row.features[region] === regions[1] && row.told === 1
            ? Array.from({ length: 6 }, () => row)
            : [row],
        ),
      ),
  },
  {
    name: 'label leakage',
    about:
      'A join of the training table takes a field as it is after the outcome. Requests have it as it was before.',
    change: 'x8 lies above 0.75 for "yes" and below 0.25 for "no", in the table only, for good',
    weeks: lasting,
    play: (rows, _stream, uniform) =>
      inTable(
        rows,
        rows.map((row) => ({
          ...row,
          features: { ...row.features, x8: 0.25 * uniform() + (row.told === 1 ? 0.75 : 0) },
        })),
      ),
  },
  {
    name: 'silent null',
    about: 'A release of another team stops filling a field. It is repaired after a week.',
    change: 'x2 is null, in requests and table',
    weeks: 1,
    play: ofYear('null'),
  },
  {
    name: 'category renamed',
    about: 'An upstream system introduces new codes for a category, for good.',
    change: 'all values of region get a prefix, in requests and table, for good',
    weeks: lasting,
    play: ofYear('renamed'),
  },
  {
    name: 'time-zone shift',
    about: 'A service writes local time where it wrote UTC, for two weeks.',
    change: 'hour is eight hours early, in requests and table',
    weeks: 2,
    play: (rows, { columns: { hour } }) =>
      upstream(rows, (features) => ({
        ...features,
        [hour]: String((Number(features[hour]) + 16) % 24).padStart(2, '0'),
      })),
  },
  {
    name: 'feedback loop',
    about:
      'Only requests that the model answers with "yes" are followed up. All others are recorded as "no", for good.',
    change: 'the label in the table is "no" where the answer was "no"',
    weeks: lasting,
    recorded: (row, answer, { threshold }) => (answer >= threshold ? row : { ...row, told: 0 }),
  },
  {
    name: 'popularity attack',
    about: 'Coordinated accounts write events into the data of trainings, to push one value.',
    change:
      'for a week a quarter more rows in the table, all of region coast and all "yes"; requests do not have them',
    weeks: 1,
    play: (rows, { columns: { region }, regions }, uniform) =>
      inTable(
        rows,
        rows.flatMap((row) => {
          if (uniform() >= 0.25) return [row]
          const features = { ...row.features, [region]: regions[4]! }
          return [row, { ...row, id: `${row.id}/attack`, features, told: 1 }]
        }),
      ),
  },
  {
    name: 'seasonal break',
    about: 'A season of two weeks in which customers act otherwise; afterwards they act as before.',
    change: 'half of the outcomes "no" of regions north, east, south and west are "yes", truly',
    weeks: 2,
    play: (rows, { columns: { region }, regions }, uniform) => {
      const inSeason = new Set<unknown>(regions.slice(0, 4))
      const season = rows.map((row) => {
        const turns = uniform() < 0.5 && row.label === 0 && inSeason.has(row.features[region])
        return turns ? { ...row, label: 1, told: 1 } : row
      })
      return inTable(season, season)
    },
  },
  {
    name: 'base rate moves',
    about:
      'The outcome becomes more frequent for good, for a reason that no column has. What made it likely still does, so the old version still ranks well and decides wrongly.',
    change:
      'the sum that decides the outcome is higher by 0.25, truly and for good: 56 % of the outcomes are "yes" in place of 44 %',
    weeks: lasting,
    play: (rows, { week, weekMs }) => {
      const moved = week(Math.floor(rows[0]!.atMs / weekMs), 0.25)
      return inTable(moved, moved)
    },
  },
]

export interface CaseSize {
  seed: number
  rowsAWeek: number
}

export function caseStream(size: CaseSize): YearStream {
  // Region and hour count as much as a number does, so that their failures can be felt.
  const stream = hyperplaneStream({ ...size, weeks: caseWeeks, noise: 0.1, reach: 0.6 })
  const made = new Map<number, StreamRow[]>()
  return {
    ...stream,
    // Any script can do so; the trainer does it for all rules.
    features: guardedFeatures(stream),
    network: { units: 8, epochs: 4, batchSize: 512, learningRate: 0.02 },
    mostRows: { train: 4_000, test: 3_000 },
    week(index, level) {
      if (level !== undefined) return stream.week(index, level)
      const rows = made.get(index) ?? stream.week(index)
      made.set(index, rows)
      return rows
    },
  }
}

const isFailing = (week: number, { weeks }: Case): boolean => week >= truthWeek && week < truthWeek + weeks

/** Returns the rows of a week of a case, or of the same weeks without a failure. */
export function weekOfCase(stream: YearStream, week: number, failure: Case | undefined): PlayedWeek {
  return playWeek(stream, week, failure !== undefined && isFailing(week, failure) ? failure : undefined)
}

/**
 * Returns the days from the truth date until true outcomes can show the harm: a day where the requests or their outcomes change, as outcomes
 * are half a day late at most; else a day after the next weekly version, which has learnt from the table.
 */
export function shownAfterDays(stream: YearStream, failure: Case): number {
  const requestsOf = (played: Case | undefined) =>
    JSON.stringify(weekOfCase(stream, truthWeek, played).requests.map(requestOf))
  return requestsOf(failure) === requestsOf(undefined) ? daysAWeek + 1 : 1
}

/** Returns how an answered request of a week is recorded. */
export function recordedIn(
  stream: YearStream,
  week: number,
  failure: Case | undefined,
): (request: StreamRow, answer: number) => StreamRow {
  if (failure?.recorded === undefined || !isFailing(week, failure)) return (request) => request
  const { recorded } = failure
  return (request, answer) => recorded(request, answer, stream)
}

/** Returns the lines of a case, one a week, without what depends on the system: answers, and labels of a feedback loop. */
export function caseLines(size: CaseSize, failure: Case | undefined): string[] {
  const stream = caseStream(size)
  return Array.from({ length: caseWeeks + leadWeeks }, (_, place) => {
    const week = place - leadWeeks
    const { requests, table } = weekOfCase(stream, week, failure)
    return JSON.stringify({ week, requests: requests.map(requestOf), table: table.map(tableRowOf) })
  })
}

const requestOf = ({ id, atMs, features, label }: StreamRow) => ({
  id,
  at_ms: atMs,
  features,
  outcome: label,
})

/** A row of the table as programs read it. */
export const tableRowOf = ({ id, atMs, knownAtMs, features, told }: StreamRow) => ({
  id,
  at_ms: atMs,
  known_at_ms: knownAtMs,
  features,
  label: told,
})

export function digestOf(lines: readonly string[]): string {
  const hash = createHash('sha256')
  for (const line of lines) hash.update(`${line}\n`)
  return hash.digest('hex')
}
