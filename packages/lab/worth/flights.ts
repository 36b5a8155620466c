/** Reads the real flights as a stream. The records end with June, so each week of the year is half a recorded week. */
import { openEvents } from '../../../cli/demo/world.ts'
import { loadModel } from '../../../models/index.ts'
import { dayMs } from '../half-year/clock.ts'
import { leadWeeks, type YearStream, type StreamRow } from './streams.ts'

/** Preceded by two weeks of records, which the first training uses. */
const firstMs = Date.UTC(2001, 0, 15)
const weekMs = 3.5 * dayMs
/** The airports with the most flights. */
const hubs = ['ORD', 'DFW', 'ATL', 'LAX', 'PHX', 'STL', 'DTW', 'MSP']

export async function flightStream({
  weeks,
  everyNth,
}: {
  weeks: number
  everyNth: number
}): Promise<YearStream> {
  const { definition } = await loadModel('flight-delay')
  const events = await openEvents({
    definition,
    routingKey: `origin || '-' || destination`,
    windowMs: 7 * dayMs,
  })
  const byWeek = new Map<number, StreamRow[]>()
  let place = 0
  reading: for await (const batch of events.from(firstMs - leadWeeks * weekMs)) {
    for (const { atMs: recordedMs, knownAtMs, outcome, instance } of batch) {
      if (place++ % everyNth !== 0) continue
      const atMs = recordedMs - firstMs
      const index = Math.floor(atMs / weekMs)
      if (index >= weeks) break reading
      const label = Number(outcome)
      const row = { id: String(place), atMs, knownAtMs: knownAtMs - firstMs, features: instance, label }
      const rows = byWeek.get(index) ?? []
      rows.push({ ...row, told: label })
      byWeek.set(index, rows)
    }
  }
  await events.close()
  return {
    name: 'flights',
    about: 'real flights of January to June 2001',
    // An upstream fault sends nulls, so every column may be imputed.
    features: Object.fromEntries(
      Object.entries(definition.features).map(([name, feature]) =>
        feature.kind === 'category'
          ? [name, { kind: 'category', missing: 'fill' }]
          : [name, { ...feature, missing: 'fill' }],
      ),
    ),
    threshold: 0.25,
    weekMs,
    weeks,
    // Metres instead of miles.
    unitFactor: 1_609,
    columns: {
      unit: 'distance',
      emptied: 'recentLateShare',
      frozen: 'recentLateShare',
      joined: 'recentLateShare',
      region: 'origin',
      hour: 'hour',
    },
    regions: hubs,
    slices: [
      { name: 'hubs', holds: ({ origin }) => hubs.includes(String(origin)) },
      { name: 'morning', holds: ({ hour }) => String(hour) < '12' },
      { name: 'evening', holds: ({ hour }) => String(hour) >= '17' },
      { name: 'short haul', holds: ({ distance }) => Number(distance) < 500 },
    ],
    network: { units: 16, epochs: 3, batchSize: 256, learningRate: 0.003 },
    // That of the shipped model: three recorded weeks and three days.
    split: { train: 6, test: 6 / 7, matured: 1 / 7 },
    mostRows: { train: 40_000, test: 12_000 },
    week: (index) => byWeek.get(index) ?? [],
  }
}
