/** Records the end of a release: marks a promoted version as proven and detaches the routing. */
import { concludeRelease } from '../../store/release/end-release.ts'
import { findRouting } from '../../store/serving/routing.ts'
import type { Deps } from '../deps.ts'
import { awaitAcknowledgements } from './await-replicas.ts'
import { releaseStep } from './release-step.ts'
import { nextEffect } from '../../domain/release/next-effect.ts'
import { actFor } from '../../store/release/releases.ts'

export const closeRelease = (deps: Deps) =>
  releaseStep(deps, 'close', async (_given, beat, input) => {
    const { store, log } = deps
    const state = await actFor(store, input, async (database, locked) =>
      nextEffect(locked).key === input.step ? concludeRelease(database, locked) : locked,
    )
    const { id: release, version, model, policy, outcome, reason } = state
    const now = await findRouting(store, model)
    if (now && outcome === 'promoted')
      await awaitAcknowledgements(deps, beat, now.route, policy.watch.acknowledgeMs)
    log.info({ release, version, outcome }, `release ended: ${reason ?? ''}`)
    return undefined
  })
