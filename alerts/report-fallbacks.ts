/** Raises an alert for each active fallback, and resolves the alerts of ended fallbacks. */
import { fallbackAlerts, fallbackLevels } from '../domain/serving/fallback-level.ts'
import { resolveAlert, upsertAlert } from '../store/monitoring/alerts.ts'
import type { Store } from '../store/postgres.ts'
import { listFallbacks, listReportedFallbacks } from '../store/serving/replica-fallbacks.ts'

/** Keeps one alert per model and fallback level. A lower level resolves the alert of the level above. */
export async function reportFallbacks(store: Store): Promise<void> {
  const standing = await listFallbacks(store)
  if (standing === undefined) return
  const open = new Set(await listReportedFallbacks(store))
  for (const { model, level, reason, replicas } of standing) {
    if (level === 'champion') continue
    const dedupeKey = `fallback/${model}/${level}`
    open.delete(dedupeKey)
    const { kind, severity } = fallbackAlerts[level]
    const message = `${fallbackLevels[level]} On ${replicas} ${replicas === 1 ? 'replica' : 'replicas'}: ${reason}`
    await upsertAlert(store, { dedupeKey, model, severity, kind, message, evidence: { level, replicas } })
  }
  for (const dedupeKey of open) await resolveAlert(store, dedupeKey)
}
