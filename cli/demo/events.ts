/**
 * Reads recorded events with the features that a live client would have sent at that time. It uses the SQL of the model
 * definition, so that training and serving features cannot diverge.
 */
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { join } from 'node:path'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { FeatureRow } from '../../domain/model/features.ts'
import { checkout } from '../../temporal.config.ts'
import type { LiveRequest } from './replay.ts'

export interface RecordedEvents {
  /** Events from a time on, in order, one window at a time. */
  from(ms: number): AsyncGenerator<LiveRequest[]>
  span: { firstMs: number; lastMs: number }
  /** Waits for the pending read, then closes the database. */
  close(): Promise<void>
}

export interface EventsOptions {
  definition: ModelDefinition
  /** SQL for the routing key. */
  routingKey: string
  windowMs?: number
}

const hourMs = 3_600_000

/** Opens the records of a model with file sources. The next window is read while the current one is replayed. */
export async function openEvents({
  definition,
  routingKey,
  windowMs = 12 * hourMs,
}: EventsOptions): Promise<RecordedEvents> {
  const { source, label, features } = definition
  const { eventTime } = source
  const { knownAt } = label
  if (
    eventTime === undefined ||
    knownAt === undefined ||
    source.kind === 'postgres' ||
    source.kind === 'served'
  )
    throw new Error(`${definition.name} has no event times or no file source`)
  // One thread, because the replay shares the machine with the system.
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  const connection = await instance.connect()
  for (const [name, path] of Object.entries(source.files))
    await connection.run(
      `create view "${name}" as select * from ${source.kind === 'csv' ? 'read_csv' : 'read_parquet'}('${join(checkout, path)}')`,
    )
  await connection.run(`create view records as ${source.rows}`)
  const span = await readSpan(connection, eventTime)
  const names = Object.keys(features)

  const readNow = async (fromMs: number): Promise<LiveRequest[]> => {
    const [from, to] = [fromMs, fromMs + windowMs].map(timestamp)
    await connection.run(`create or replace temp table known as select * from records
      where "${eventTime}" >= ${from} - interval '${Math.ceil(source.lookbackMs / 1_000)} seconds' and "${eventTime}" < ${to}`)
    const reader = await connection.runAndReadAll(`
      select epoch_ms("${eventTime}")::double as at_ms, epoch_ms("${knownAt}")::double as known_ms,
        (${routingKey})::varchar as routing_key, "${label.column}" as outcome,
        ${names.map((name) => `"${name}"`).join(', ')}
      from (${source.derive ?? 'select * from known'})
      where "${eventTime}" >= ${from}
      order by "${eventTime}", routing_key, known_ms, outcome`)
    return reader.getRowObjects().map((row) => ({
      atMs: Number(row['at_ms']),
      knownAtMs: Number(row['known_ms']),
      routingKey: String(row['routing_key']),
      outcome: plain(row['outcome']) ?? 0,
      instance: Object.fromEntries(names.map((name) => [name, plain(row[name])])) as FeatureRow,
    }))
  }

  // Sequential, because each window replaces the table of the previous one.
  let reading: Promise<LiveRequest[]> = Promise.resolve([])
  const read = (fromMs: number): Promise<LiveRequest[]> => {
    const window = reading.then(() => readNow(fromMs))
    reading = window.catch(() => [])
    return window
  }

  return {
    span,
    async *from(ms) {
      let next = read(ms)
      for (let at = ms; at <= span.lastMs; at += windowMs) {
        const events = await next
        next = at + windowMs <= span.lastMs ? read(at + windowMs) : Promise.resolve([])
        // A consumer that stops early never awaits it; `close` does.
        next.catch(() => {})
        if (events.length > 0) yield events
      }
    },
    async close() {
      await reading
      connection.closeSync()
      instance.closeSync()
    },
  }
}

async function readSpan(connection: DuckDBConnection, eventTime: string) {
  const reader = await connection.runAndReadAll(
    `select epoch_ms(min("${eventTime}"))::double as first, epoch_ms(max("${eventTime}"))::double as last from records`,
  )
  const [row] = reader.getRowObjects()
  return { firstMs: Number(row?.['first']), lastMs: Number(row?.['last']) }
}

/** SQL literal of a timestamp without time zone. */
function timestamp(ms: number): string {
  return `timestamp '${new Date(ms).toISOString().replace('T', ' ').replace('Z', '')}'`
}

function plain(value: unknown): number | string | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'bigint' || typeof value === 'boolean') return Number(value)
  return typeof value === 'number' || typeof value === 'string' ? value : String(value)
}
