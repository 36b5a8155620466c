/** Trains and approves the first version of a model, which has no champion to beat. */
import { setTimeout as pause } from 'node:timers/promises'
import { findChampion } from '../../../store/registry/champions.ts'
import { getModel } from '../../../store/registry/models.ts'
import { findOpenRelease } from '../../../store/release/releases.ts'
import { listRetrainings } from '../../../store/training/retrainings.ts'
import { halfYearModel } from './model.ts'
import type { HalfYearSystem } from './system.ts'

export async function seatFirst(
  system: HalfYearSystem,
  asOfMs: number,
  say: (line: string) => void,
): Promise<string> {
  const { store, operator, approver } = system
  const { release } = (await getModel(store, halfYearModel)).definition
  await operator.post(`/v1/models/${halfYearModel}/retrainings`, {
    as_of: new Date(asOfMs).toISOString(),
    reason: 'the first version',
    policy: { ...release, approval: { approvers: 1, withinMs: 120_000 } },
  })
  const deadline = Date.now() + 180_000
  let approved = false
  for (;;) {
    const champion = await findChampion(store, halfYearModel)
    if (champion !== undefined && (await findOpenRelease(store, halfYearModel)) === undefined)
      return champion.version
    const [last] = await listRetrainings(store, { model: halfYearModel, limit: 1 })
    if (last?.outcome !== undefined && last.outcome !== 'released')
      throw new Error(`the first version was not released: ${last.outcome}, ${last.message}`)
    const open = await findOpenRelease(store, halfYearModel)
    if (!approved && open?.state.stage === 'awaiting_approval') {
      const { id, digests } = open.state
      await approver.post(`/v1/releases/${id}/approve`, {
        reason: 'floors met',
        artifact_digest: digests.artifact,
        evaluation_digest: digests.evaluation,
        policy_digest: digests.policy,
      })
      approved = true
      say(`${open.state.version} is approved by a person, as every first version is`)
    }
    if (Date.now() > deadline) throw new Error('there is no first champion after three minutes')
    await pause(200)
  }
}
