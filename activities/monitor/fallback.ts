/**
 * Tells people who answers when the champion does not, and makes a champion give way that the monitor finds broken, where the
 * model file has said beforehand that it may.
 */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { fallbackAlerts, fallbackLevels } from '../../domain/serving/fallback-level.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { findRollbackTarget } from '../../store/registry/champions.ts'
import { findKillSwitch, writeKillSwitch } from '../../store/serving/kill-switches.ts'
import { findOpenRelease } from '../../store/release/releases.ts'
import { listFallbacks, listReportedFallbacks } from '../../store/serving/replica-fallbacks.ts'
import type { Deps } from '../deps.ts'

/** One alert a model and rung: a rung further down is another matter, and the one above is over then. */
export async function reportFallbacks({ store }: Pick<Deps, 'store'>): Promise<void> {
  const standing = await listFallbacks(store)
  if (standing === undefined) return
  const open = new Set(await listReportedFallbacks(store))
  for (const { model, level, reason, replicas } of standing) {
    if (level === 'champion') continue
    const dedupeKey = `fallback/${model}/${level}`
    open.delete(dedupeKey)
    const { kind, severity } = fallbackAlerts[level]
    const message = `${fallbackLevels[level]} On ${replicas} ${replicas === 1 ? 'replica' : 'replicas'}: ${reason}`
    await upsertAlert(store, {
      dedupeKey,
      model,
      severity,
      kind,
      message,
      evidence: { rung: level, replicas },
    })
  }
  for (const dedupeKey of open) await resolveAlert(store, dedupeKey)
}

/**
 * Throws the model's switch to its fallback. Not while a release has the champion on probation, which takes it back by itself,
 * nor over a switch that somebody has thrown, nor to a fallback that is not there. Answers whether it was thrown.
 */
export async function activateFallback(
  { store, log }: Pick<Deps, 'store' | 'log'>,
  { definition, champion, reason }: { definition: ModelDefinition; champion: string; reason: string },
): Promise<boolean> {
  const { name: model, fallback } = definition
  if (fallback?.automatic !== true) return false
  const flag = await findKillSwitch(store, model)
  if (flag !== undefined && flag.serve !== 'normal') return false
  const release = await findOpenRelease(store, model)
  if (release?.state.stage === 'probation' && release.state.version === champion) return false
  if (fallback.kind === 'previous' && fallback.otherwise === undefined) {
    const target = await findRollbackTarget(store, { model, from: champion })
    if (target === undefined) return false
  }
  await writeKillSwitch(store, { model, serve: 'fallback', reason, actor: `monitor/${model}` })
  log.warn({ model, champion, reason }, 'the champion gives way to its fallback')
  return true
}
