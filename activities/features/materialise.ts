/** Ingests the new rows of a feature view into Postgres. Serving and training read the same stored values, so they cannot differ. */
import { DomainError, reasonOf } from '../../domain/errors.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import {
  deleteOldValues,
  isUsed,
  listViews,
  recordRun,
  type StoredView,
} from '../../store/features/feature-views.ts'
import { readNow } from '../../store/database/clock.ts'
import type { Store } from '../../store/postgres.ts'
import { openSubjectKey } from '../../store/signing/subject-hash.ts'
import type { MaterialiseRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { takeStart } from '../runtime/take-start.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'
import { ingestView } from './ingest-view.ts'
import { findKeptSince } from './kept-since.ts'

export interface MaterialiseResult {
  /** The number of definitions of this name in use; two while a changed one replaces the other. */
  definitions: number
  read: number
  added: number
  late: number
  forgotten: number
  /** ISO 8601. */
  watermark?: string
}

/** Limit on the rows deleted per run; the next run continues. */
const maxForgotten = 100_000

/** Throws `not_found` for a view without a definition, and `invalid_request` for an error in its SQL. */
export const materialiseView =
  (deps: Deps) =>
  ({ view: name, digest, order }: MaterialiseRequest): Promise<MaterialiseResult> =>
    withHeartbeat(async (beat) => {
      const { store, config, log } = deps
      // Without an order, a run does what the schedule of the view does.
      const from =
        order === undefined
          ? undefined
          : (await takeStart(store, { kind: 'materialise', order, subject: name })).from
      const found = await listDefinitions(store, { name, digest })
      if (found.length === 0)
        throw new DomainError('not_found', `no feature view is named ${JSON.stringify(name)}`)
      const used = found.filter(isUsed)
      const total: MaterialiseResult = { definitions: used.length, read: 0, added: 0, late: 0, forgotten: 0 }
      const untilMs = Math.floor(await readNow(store))
      const subjectKey = await openSubjectKey(config.signing.subjectKey)
      const failures: unknown[] = []
      for (const each of used) {
        try {
          const counted = await ingestView(store, each, {
            untilMs,
            subjectKey,
            fromMs: from === undefined ? undefined : Date.parse(from),
            onBatch: () => beat.check(),
          })
          total.read += counted.read
          total.added += counted.added
          total.late += counted.late
          total.forgotten += await forgetOld(store, each, beat)
          await recordRun(store, { id: each.id })
          await resolveAlert(store, alertOf(each), `ingested until ${new Date(untilMs).toISOString()}`)
        } catch (error) {
          beat.check()
          // A changed definition that cannot be ingested must not keep the one of the live versions from it.
          failures.push(error)
          await recordRun(store, { id: each.id, problem: reasonOf(error) })
        }
      }
      if (failures.length > 0) throw failures[0]
      if (used.length > 0) total.watermark = new Date(untilMs).toISOString()
      if (total.added + total.forgotten > 0) log.info({ view: name, ...total }, 'feature view ingested')
      return total
    })

/** The definitions of a view; with a digest, this one alone. */
const listDefinitions = async (
  store: Store,
  { name, digest }: { name: string; digest: string | undefined },
): Promise<StoredView[]> =>
  (await listViews(store, { name })).filter((each) => digest === undefined || each.digest === digest)

const alertOf = ({ name, digest }: StoredView): string => `features_late/${name}/${digest}`

/** A run that was lost has stored no problem; a view that ran lately is not late. */
const isLate = ({ ranAt, definition }: StoredView, nowMs: number): boolean =>
  ranAt === undefined || Date.parse(ranAt) + 2 * definition.everyMs < nowMs

/** Raises an alert for a view that is not ingested, with the problem that its run has stored: its values age and then expire. */
export const failView =
  ({ store, log }: Deps) =>
  async ({ view, digest }: { view: string; digest?: string }): Promise<void> => {
    const used = (await listDefinitions(store, { name: view, digest })).filter(isUsed)
    const nowMs = await readNow(store)
    const lost = used.filter((each) => each.problem === undefined && isLate(each, nowMs))
    for (const { id } of lost) await recordRun(store, { id, problem: lostRun })
    for (const each of used) {
      const problem = each.problem ?? (lost.includes(each) ? lostRun : undefined)
      const [model] = each.models
      if (problem === undefined) continue
      if (model !== undefined)
        await upsertAlert(store, {
          dedupeKey: alertOf(each),
          model,
          severity: 'warning',
          kind: 'features_late',
          cause: problem,
          message: `The feature view ${view} cannot be ingested: ${problem}`,
          evidence: { view, watermark: each.watermark, models: each.models },
        })
      log.warn({ view }, `feature view not ingested: ${problem}`)
    }
  }

const lostRun = 'its worker was lost or took too long'

async function forgetOld(store: Store, view: StoredView, beat: Beat): Promise<number> {
  const sinceMs = await findKeptSince(store, view)
  if (sinceMs === undefined) return 0
  const before = new Date(sinceMs).toISOString()
  let forgotten = 0
  for (;;) {
    const deleted = await deleteOldValues(store, { viewId: view.id, before })
    forgotten += deleted
    beat.check()
    if (deleted === 0 || forgotten >= maxForgotten) return forgotten
  }
}
