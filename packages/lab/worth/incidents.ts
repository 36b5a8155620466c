/**
 * Simulates twelve incidents of kinds known from public post-mortems. Each lasts a week and changes exactly what it says: the rows of
 * requests, the rows of the training table, or the answers of one version.
 */
import type { FeatureRow } from '../../../domain/model/features.ts'
import { seededRandom } from '@tenure/sequential'
import type { YearStream, StreamRow } from './streams.ts'

export interface PlayedWeek {
  /** Rows as requests arrive. */
  requests: StreamRow[]
  /** Rows as trainings read them. */
  table: StreamRow[]
}

export interface Incident {
  name: string
  /** The public kind to which it belongs. */
  kind: string
  told: (stream: YearStream) => string
  play?: (rows: StreamRow[], stream: YearStream, uniform: () => number) => PlayedWeek
  /** Changes a request for a version released in this week. */
  bug?: (row: FeatureRow, stream: YearStream) => FeatureRow
}

type Edit = (features: FeatureRow, row: StreamRow) => FeatureRow

/** Changes requests and table alike. */
export const upstream = (rows: StreamRow[], edit: Edit): PlayedWeek => {
  const edited = rows.map((row) => ({ ...row, features: edit(row.features, row) }))
  return { requests: edited, table: edited }
}

const hourBack = (hour: string): string => String((Number(hour) + 23) % 24).padStart(2, '0')

export const incidents: readonly Incident[] = [
  {
    name: 'unit',
    kind: 'a unit changed upstream without a word (metres for miles, cents for dollars)',
    told: ({ columns, unitFactor }) =>
      `${columns.unit} is sent ${unitFactor.toLocaleString('en-US')} times as large`,
    play: (rows, { columns: { unit }, unitFactor }) =>
      upstream(rows, (features) => {
        const value = features[unit]
        return typeof value === 'number' ? { ...features, [unit]: value * unitFactor } : features
      }),
  },
  {
    name: 'null',
    kind: 'a column that a release of another team stopped filling',
    told: ({ columns }) => `${columns.emptied} is null in every row`,
    play: (rows, { columns }) => upstream(rows, (features) => ({ ...features, [columns.emptied]: null })),
  },
  {
    name: 'renamed',
    kind: 'values of a category renamed upstream (lower case, new codes)',
    told: ({ columns }) => `all values of ${columns.region} get a prefix`,
    play: (rows, { columns: { region } }) =>
      upstream(rows, (features) => ({ ...features, [region]: `x-${String(features[region])}` })),
  },
  {
    name: 'late labels',
    kind: 'the job that writes labels stood still',
    told: () => 'labels reach the table a week later',
    play: (rows, { weekMs }) => {
      const later = rows.map((row) => ({ ...row, knownAtMs: row.knownAtMs + weekMs }))
      return { requests: later, table: later }
    },
  },
  {
    name: 'flipped labels',
    kind: 'a region whose labels were written with the opposite sign',
    told: ({ regions }) => `labels of ${regions.slice(0, 3).join(', ')} are inverted in the table`,
    play: (rows, { columns: { region }, regions }) => {
      const flipped = rows.map((row) =>
        regions.slice(0, 3).includes(String(row.features[region])) ? { ...row, told: 1 - row.told } : row,
      )
      return { requests: flipped, table: flipped }
    },
  },
  {
    name: 'duplicated day',
    kind: 'a backfill that ran several times',
    told: () => 'the rows of one day are five times in the table',
    play: (rows, { weekMs }) => {
      const from = rows[0]!.atMs + (3 * weekMs) / 7
      const table = rows.flatMap((row) =>
        row.atMs >= from && row.atMs < from + weekMs / 7 ? Array.from({ length: 5 }, () => row) : [row],
      )
      return { requests: rows, table }
    },
  },
  {
    name: 'time zone',
    kind: 'local time for UTC, or a missed change to summer time',
    told: ({ columns }) => `${columns.hour} is an hour early`,
    play: (rows, { columns: { hour } }) =>
      upstream(rows, (features) => ({ ...features, [hour]: hourBack(String(features[hour])) })),
  },
  {
    name: 'frozen',
    kind: 'a cache or feature store that kept its last values',
    told: ({ columns }) => `${columns.frozen} keeps one value`,
    play: (rows, { columns: { frozen } }) => {
      const last = rows[0]!.features[frozen] ?? 0
      return upstream(rows, (features) => ({ ...features, [frozen]: last }))
    },
  },
  {
    name: 'lost join',
    kind: 'keys that no longer matched after a migration',
    told: ({ columns }) => `${columns.joined} is null in 30 % of the rows`,
    play: (rows, { columns: { joined } }, uniform) =>
      upstream(rows, (features) => (uniform() < 0.3 ? { ...features, [joined]: null } : features)),
  },
  {
    name: 'fraud wave',
    kind: 'an attack that is over before a model has learnt it',
    told: ({ regions }) => `15 % more requests, all from ${regions[1]} and all "yes"`,
    play: (rows, { columns: { region }, regions }, uniform) => {
      const wave = rows.flatMap((row) => {
        if (uniform() >= 0.15) return [row]
        const features = { ...row.features, [region]: regions[1]! }
        return [row, { ...row, id: `${row.id}/wave`, features, label: 1, told: 1 }]
      })
      return { requests: wave, table: wave }
    },
  },
  {
    name: 'serving bug',
    kind: 'a bug in the path of the new version alone (another order of columns)',
    told: ({ columns, features }) =>
      `the version of this week gets ${columns.unit} and ${otherNumber(features, columns.unit)} in each other's place`,
    bug: (row, { columns: { unit }, features }) => {
      const other = otherNumber(features, unit)
      return { ...row, [unit]: row[other]!, [other]: row[unit]! }
    },
  },
  {
    name: 'poisoned slice',
    kind: 'rows that an attacker wrote into the data of trainings',
    told: ({ regions }) => `a tenth more rows in the table, of ${regions[2]}, all "no"`,
    play: (rows, { columns: { region }, regions }, uniform) => {
      const table = rows.flatMap((row) => {
        if (uniform() >= 0.1) return [row]
        const features = { ...row.features, [region]: regions[2]! }
        return [row, { ...row, id: `${row.id}/poison`, features, told: 0 }]
      })
      return { requests: rows, table }
    },
  },
]

/** Returns the last other number of a stream, with which the bug swaps a column. */
function otherNumber(features: YearStream['features'], not: string): string {
  const names = Object.keys(features).filter((name) => features[name]!.kind === 'number' && name !== not)
  return names.at(-1)!
}

/** Returns the week of an incident; incidents are spread over the year. */
export function weekOfIncident(place: number, weeks: number): number {
  return 3 + Math.floor((place * (weeks - 4)) / incidents.length)
}

export function incidentOf(week: number, weeks: number): Incident | undefined {
  return incidents.find((_, place) => weekOfIncident(place, weeks) === week)
}

/** Returns the rows of a week with its incident, if it has one. */
export function playWeek(
  stream: YearStream,
  week: number,
  incident: Pick<Incident, 'play'> | undefined,
): PlayedWeek {
  const rows = stream.week(week)
  if (incident?.play === undefined) return { requests: rows, table: rows }
  return incident.play(rows, stream, seededRandom(week * 31 + 5))
}

/** Of the seven of a week. */
export const daysAWeek = 7
export const playDayMs = ({ weekMs }: Pick<YearStream, 'weekMs'>): number => weekMs / daysAWeek
