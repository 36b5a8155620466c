/** Leaves out or thins rows of flooded values by the rule of the product's snapshots. */
import { createHash } from 'node:crypto'
import {
  findFloods,
  periodMsOf,
  staysIn,
  type BatchSpan,
  type FloodPolicy,
} from '../../../../domain/validation/floods.ts'
import type { Flood } from '../../../../domain/validation/expectations.ts'
import { countTexts } from '../../../../domain/validation/flooded-value.ts'
import { periodsOfBatch } from '../../../../domain/validation/periods.ts'
import type { YearStream, StreamRow } from '../streams.ts'
import type { PlayedSnapshot } from '../versions.ts'

export async function withoutFloods(
  { features }: YearStream,
  snapshot: PlayedSnapshot,
  policy: FloodPolicy,
): Promise<PlayedSnapshot & { floods: Flood[] }> {
  const rows = [...snapshot.train, ...snapshot.test]
  if (policy === 'warn' || rows.length === 0) return { ...snapshot, floods: [] }
  const span: BatchSpan = { firstMs: Infinity, lastMs: -Infinity }
  for (const { atMs } of rows) {
    span.firstMs = Math.min(span.firstMs, atMs)
    span.lastMs = Math.max(span.lastMs, atMs)
  }
  const columns = Object.keys(features).filter((name) => features[name]!.kind === 'category')
  const floods = await findFloods(columns, policy, span, (column, found) => {
    const periods = Array.from({ length: periodsOfBatch }, () => [] as (string | null)[])
    for (const row of rows)
      if (stays(row, found))
        periods[Math.floor((row.atMs - span.firstMs) / periodMsOf(span))]!.push(
          row.features[column] as string | null,
        )
    return Promise.resolve(periods.map(countTexts))
  })
  const left = (part: StreamRow[]) => (floods.length === 0 ? part : part.filter((row) => stays(row, floods)))
  return { ...snapshot, train: left(snapshot.train), test: left(snapshot.test), floods }
}

const stays = ({ id, atMs, features }: StreamRow, floods: readonly Flood[]): boolean =>
  floods.every(
    (flood) =>
      features[flood.column] !== flood.value ||
      staysIn(flood, { atMs, value: flood.value, key: createHash('md5').update(id).digest('hex') }),
  )
