/** Raises an alert for each active fallback, and resolves the alerts of ended fallbacks. */
import { fallbackAlerts, fallbackLevels, loadProblemText } from '../domain/serving/fallback-level.ts'
import { resolveAlert, upsertAlert, type NewAlert } from '../store/monitoring/alerts.ts'
import type { Store } from '../store/postgres.ts'
import {
  listFallbacks,
  listReportedFallbacks,
  type FleetFallback,
} from '../store/serving/replica-fallbacks.ts'

/**
 * Keeps one alert per model and fallback level. A lower level resolves the alert of the level above. Replicas that cannot load a version
 * while others serve have an alert of their own.
 */
export async function reportFallbacks(store: Store): Promise<void> {
  const standing = await listFallbacks(store)
  if (standing === undefined) return
  const open = new Set(await listReportedFallbacks(store))
  for (const found of standing) {
    if (found.level === 'champion') continue
    const alert = fallbackAlert(found, found.level)
    open.delete(alert.dedupeKey)
    await upsertAlert(store, alert)
  }
  for (const dedupeKey of open)
    await resolveAlert(store, dedupeKey, 'each replica with a lease serves the model without this fallback')
}

function fallbackAlert(
  { model, reason, version, replicas, live }: FleetFallback,
  level: Exclude<FleetFallback['level'], 'champion'>,
): NewAlert {
  const ofLive = `${replicas.length} of ${live} ${live === 1 ? 'replica' : 'replicas'}`
  const evidence = { level, replicas: replicas.length, live, replica: replicas.join(', '), version }
  if (level === 'refused' && version !== undefined && replicas.length < live) {
    const others = live - replicas.length
    return {
      dedupeKey: `fallback/${model}/replica`,
      model,
      severity: 'warning',
      kind: 'replica_cannot_load',
      message: `${ofLive} cannot load ${version}: ${loadProblemText(reason)} ${others === 1 ? 'The other replica serves' : `The other ${others} replicas serve`} all traffic.`,
      evidence,
      cause: `${version}: ${reason}`,
    }
  }
  const { kind, severity } = fallbackAlerts[level]
  const message = `${fallbackLevels[level]} On ${ofLive}: ${version === undefined ? reason : `${version} cannot be loaded: ${loadProblemText(reason)}`}`
  return {
    dedupeKey: `fallback/${model}/${level}`,
    model,
    severity,
    kind,
    message,
    evidence,
    cause: `${kind}: ${reason}`,
  }
}
