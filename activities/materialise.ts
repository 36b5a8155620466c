/**
 * Takes what has become known of a feature view into Postgres, where it is looked up and from where training reads it. Both have
 * the values from this one place, so that a model is asked what it was taught.
 *
 * It can be killed anywhere and run twice at once: each row is stored once, the newest only moves on, and the watermark passes a
 * row only after it is stored.
 */
import { DomainError, isError } from '../domain/errors.ts'
import type { FeatureValue, FeatureView } from '../domain/feature-view.ts'
import { planView } from '../models/define/point-in-time.ts'
import { resolveAlert, upsertAlert } from '../store/alerts.ts'
import { forgetValues, insertValues, type ViewRow } from '../store/feature-values.ts'
import {
  findView,
  isUsed,
  listViews,
  readNow,
  recordRun,
  upsertView,
  type StoredView,
} from '../store/feature-views.ts'
import type { Store } from '../store/postgres.ts'
import { checkout } from '../temporal.config.ts'
import type { Deps } from './deps.ts'
import { withDuck, type Duck } from './duckdb.ts'
import { withHeartbeat, type Beat } from './heartbeat.ts'
import { loadKnown } from './known.ts'

export interface MaterialiseInput {
  view: string
  /** ISO 8601: everything from then on is read again, for rows that came later than the view says they may. */
  from?: string
}

export interface MaterialiseResult {
  /** Definitions of this name that models use; one while a changed one replaces it, two. */
  definitions: number
  read: number
  added: number
  late: number
  forgotten: number
  /** ISO 8601. */
  watermark?: string
}

/** Rows stored in one transaction. */
const batchRows = 5_000
/** Deleted in one run at most; the rest waits for the next. */
const mostForgotten = 100_000

/** Throws `not_found` for a view that nobody has taken in, and whatever Postgres or DuckDB says of its SQL as `invalid_request`. */
export const materialiseView =
  ({ store, log }: Deps) =>
  ({ view: name, from }: MaterialiseInput): Promise<MaterialiseResult> =>
    withHeartbeat(async (beat) => {
      const found = await listViews(store, { name })
      if (found.length === 0)
        throw new DomainError('not_found', `there is no feature view ${JSON.stringify(name)}`)
      const used = found.filter(isUsed)
      const total: MaterialiseResult = { definitions: used.length, read: 0, added: 0, late: 0, forgotten: 0 }
      const untilMs = Math.floor(await readNow(store))
      for (const each of used) {
        const counted = await takeIn(store, each, {
          untilMs,
          ...(from === undefined ? {} : { fromMs: Date.parse(from) }),
          onBatch: () => beat.check(),
        })
        total.read += counted.read
        total.added += counted.added
        total.late += counted.late
        total.forgotten += await forgetOld(store, each, { untilMs, beat })
        await recordRun(store, { id: each.id })
      }
      if (used.length > 0) total.watermark = new Date(untilMs).toISOString()
      await resolveAlert(store, alertOf(name))
      if (total.added + total.forgotten > 0) log.info({ view: name, ...total }, 'a feature view is taken in')
      return total
    })

const alertOf = (view: string): string => `features_late/${view}`

/** Tells people that a view is not taken in any more: its values grow old and then are none. */
export const failView =
  ({ store, log }: Deps) =>
  async ({ view, message }: { view: string; message: string }): Promise<void> => {
    const found = await listViews(store, { name: view })
    for (const { id } of found.filter(isUsed)) await recordRun(store, { id, problem: message })
    const [model] = found.flatMap(({ models }) => models)
    if (model !== undefined)
      await upsertAlert(store, {
        dedupeKey: alertOf(view),
        model,
        severity: 'warning',
        kind: 'features_late',
        message: `the feature view ${view} is not taken in: ${message}`,
        evidence: { view, watermark: found[0]?.watermark, models: found.flatMap(({ models }) => models) },
      })
    log.warn({ view }, `a feature view is not taken in: ${message}`)
  }

/** Before a training as of a moment: everything that was usable by then is stored when this returns. */
export async function takeInUntil(
  store: Store,
  views: readonly FeatureView[],
  asOfMs: number,
): Promise<void> {
  // What is to come nobody knows; a watermark in the future would call all of it late.
  const untilMs = Math.floor(Math.min(asOfMs, await readNow(store)))
  for (const view of views) {
    await upsertView(store, view)
    const stored = (await findView(store, view.digest))!
    if (stored.watermark === undefined || Date.parse(stored.watermark) < untilMs)
      await takeIn(store, stored, { untilMs })
  }
}

async function takeIn(
  store: Store,
  { id, definition, watermark }: Pick<StoredView, 'id' | 'definition' | 'watermark'>,
  { untilMs, fromMs, onBatch }: { untilMs: number; fromMs?: number; onBatch?: () => void },
): Promise<{ read: number; added: number; late: number }> {
  const passedMs = watermark === undefined ? undefined : Date.parse(watermark)
  const plan = planView(definition, {
    afterMs: passedMs === undefined ? undefined : Math.min(passedMs - definition.lateMs, fromMs ?? Infinity),
    untilMs,
    root: checkout,
  })
  const run = { viewId: id, lateAt: watermark, asOf: new Date(untilMs).toISOString() }
  return withDuck(async (duck) => {
    const total = { read: 0, added: 0, late: 0 }
    const keep = async (rows: readonly ViewRow[], last: string | undefined): Promise<void> => {
      const { added, late } = await insertValues(store, { ...run, watermark: last }, rows)
      total.added += added
      total.late += late
      onBatch?.()
    }
    try {
      await loadKnown(duck, plan, definition.source.kind === 'postgres' ? { postgres: store } : 'files')
      await duck.run(
        `create temp table usable as select row_number() over () - 1 as place, * from (${plan.rows})`,
      )
    } catch (error) {
      throw refusal(definition.name, error)
    }
    for (; ; total.read += batchRows) {
      const rows = await readRows(duck, definition, total.read)
      if (rows.length < batchRows) {
        // Up to here the source has been read, whether there was a row or not.
        await keep(rows, run.asOf)
        return { ...total, read: total.read + rows.length }
      }
      await keep(rows, undefined)
    }
  })
}

async function readRows(duck: Duck, { values }: FeatureView, from: number): Promise<ViewRow[]> {
  const names = Object.keys(values)
  const iso = (column: string) => `strftime(${column}, '%Y-%m-%dT%H:%M:%S.%fZ') as ${column}`
  const rows = await duck.rows<Record<string, FeatureValue>>(`
    select entity, ${['event_at', 'known_at', 'usable_at'].map(iso).join(', ')}, ${names.map((name) => `"${name}"`).join(', ')}
    from usable where place >= ${from} and place < ${from + batchRows} order by place`)
  return rows.map((row) => ({
    entity: String(row['entity']),
    eventAt: String(row['event_at']),
    knownAt: String(row['known_at']),
    usableAt: String(row['usable_at']),
    features: Object.fromEntries(names.map((name) => [name, row[name] ?? null])),
  }))
}

async function forgetOld(
  store: Store,
  { id, definition: { keepMs } }: StoredView,
  { untilMs, beat }: { untilMs: number; beat: Beat },
): Promise<number> {
  const before = new Date(untilMs - keepMs).toISOString()
  let forgotten = 0
  for (;;) {
    const deleted = await forgetValues(store, { viewId: id, before })
    forgotten += deleted
    beat.check()
    if (deleted === 0 || forgotten >= mostForgotten) return forgotten
  }
}

/** An outage stays what it is; what is wrong with the SQL of a view no repetition heals. */
function refusal(view: string, error: unknown): unknown {
  if (isError(error)) return error
  const said = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
  return new DomainError('invalid_request', `the feature view ${view} cannot be read: ${said.slice(0, 300)}`)
}
