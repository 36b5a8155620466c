/** Activates the fallback of a champion that the monitor finds broken, where the model file permits it. */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { findRollbackTarget } from '../../store/registry/champions.ts'
import { findKillSwitch, writeKillSwitch } from '../../store/serving/kill-switches.ts'
import { observedStage } from '../../domain/release/state.ts'
import { findOpenRelease } from '../../store/release/releases.ts'
import type { Deps } from '../deps.ts'

/**
 * Sets the kill switch of the model to its fallback and returns whether it was set. Does nothing in probation, where the release rolls
 * back by itself, over a set kill switch, or without a fallback.
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
  if (release?.state.version === champion && observedStage(release.state) === 'probation') return false
  const isPreviousNeeded = fallback.kind === 'previous' && fallback.otherwise === undefined
  if (isPreviousNeeded && (await findRollbackTarget(store, { model, from: champion })) === undefined)
    return false
  const actor = `monitor/${model}`
  const revision = flag?.revision ?? 0
  // An operator may have set it in the meantime.
  if (!(await writeKillSwitch(store, { model, serve: 'fallback', reason, actor, revision }))) return false
  log.warn({ model, champion, reason }, 'fallback activated')
  return true
}
