/** Starts a drill: a rehearsed release with a faulty candidate that is never promoted. */
import type { DrillKind } from '../../domain/drill.ts'
import { DomainError } from '../../domain/errors.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { noChampion } from '../../store/release/first-release.ts'
import { getModel } from '../../store/registry/models.ts'
import { findOpenRelease } from '../../store/release/releases.ts'
import type { DrillStart } from '../../domain/starts.ts'
import { drillWorkflowId } from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'
import { recordStart } from './start-command.ts'
import { startWorkflow } from '../temporal/start-workflow.ts'

/** Starts a drill. Throws `no_champion`, `release_in_progress` and `drill_in_progress`. */
export async function startDrill(
  deps: CommandDeps,
  actor: Actor,
  { kinds, changes, ...input }: DrillStart,
  { id: requestId }: { id: string },
): Promise<{ model: string; workflowId: string; kinds?: DrillKind[] }> {
  const { store, temporal, log } = deps
  const { name: model } = await getModel(store, input.model)
  if ((await findChampion(store, model)) === undefined)
    throw await noChampion(store, model, `${model} has no champion to make the candidate of a drill from`)
  const open = await findOpenRelease(store, model)
  // The drill waits for a release that is closing.
  if (open !== undefined && open.state.outcome === undefined)
    throw new DomainError(
      open.state.drill === undefined ? 'release_in_progress' : 'drill_in_progress',
      `release ${open.state.id} of ${model} is open`,
      { release: open.state.id },
    )
  const start = { model, kinds, changes }
  const order = await recordStart(deps, actor, { kind: 'drill', request: requestId, input: start })
  const request = { model, order }
  const workflowId = drillWorkflowId(model)
  const conflict = () => new DomainError('drill_in_progress', `a drill of ${model} is running already`)
  await startWorkflow(temporal, { type: 'drill', workflowId, request, requestId: order, conflict })
  log.info({ model, kinds, by: actor.name }, 'drill started')
  return { model, workflowId, kinds }
}
