/**
 * Takes what has become known of a feature view into Postgres, where it is looked up and from where training reads it. Both have
 * the values from this one place, so that a model is asked what it was taught.
 */
import { DomainError } from '../../domain/errors.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { deleteOldValues } from '../../store/features/feature-values.ts'
import { isUsed, listViews, readNow, recordRun, type StoredView } from '../../store/features/feature-views.ts'
import type { Store } from '../../store/postgres.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'
import { ingestView } from './ingest-view.ts'

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
        const counted = await ingestView(store, each, {
          untilMs,
          fromMs: from === undefined ? undefined : Date.parse(from),
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

async function forgetOld(
  store: Store,
  { id, definition: { keepMs } }: StoredView,
  { untilMs, beat }: { untilMs: number; beat: Beat },
): Promise<number> {
  const before = new Date(untilMs - keepMs).toISOString()
  let forgotten = 0
  for (;;) {
    const deleted = await deleteOldValues(store, { viewId: id, before })
    forgotten += deleted
    beat.check()
    if (deleted === 0 || forgotten >= mostForgotten) return forgotten
  }
}
