/** Records the states of a release, the commands that it has answered, and its end. */
import { issueOfEnd } from '../../domain/release/permission.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import type { Database } from '../../store/postgres.ts'
import { close } from '../../store/release/close-release.ts'
import { insertCommand, saveRelease, type ReleaseCommand } from '../../store/release/releases.ts'
import { findRouting } from '../../store/serving/routing.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { awaitAcknowledgements } from './await-replicas.ts'
import { supportedState } from './supported-state.ts'

/** Stores the state and the commands with their results. Idempotent. */
export const recordRelease =
  ({ store, log }: Deps) =>
  async ({ state, commands }: { state: ReleaseState; commands: ReleaseCommand[] }): Promise<void> => {
    await store.transaction(async (database) => {
      await saveRelease(database, state)
      for (const command of commands) {
        if (!(await insertCommand(database, command))) continue
        const { id, releaseId, actor, reason = null, accepted, message, stage, sent } = command
        // An unsigned command proves only a name; a signed one is stored as it was signed.
        const proof = { signed: sent !== undefined, sent: sent ?? null }
        await appendAudit(database, {
          actor,
          action: `release.${command.command}`,
          subject: releaseId,
          model: state.model,
          detail: { id, accepted, message, stage, reason, ...proof, ...boundTo(state, command) },
        })
        if (command.command === 'promoteNow' && accepted) await alertBreakGlass(database, state, command)
      }
    })
    for (const { command, actor, accepted, message } of commands)
      log.info({ release: state.id, command, actor, accepted, stage: state.stage }, message)
  }

/** The digests and the key that an approval or a rejection is bound to. The state keeps the last statement of each user. */
function boundTo({ approvals, rejections, breakGlass, digests }: ReleaseState, command: ReleaseCommand) {
  const { actor, accepted } = command
  if (!accepted || !['approve', 'reject', 'promoteNow'].includes(command.command)) return { digests }
  const statements = [...approvals, ...rejections, breakGlass].filter((each) => each?.by === actor)
  const { key = null, digests: given = digests } = statements.at(-1) ?? {}
  return { digests: given, key }
}

/** Raises an alert at once, because break-glass skips safeguards. */
async function alertBreakGlass(
  database: Database,
  { id, model, version, breakGlass }: ReleaseState,
  { actor, reason }: ReleaseCommand,
): Promise<void> {
  await upsertAlert(database, {
    dedupeKey: `break_glass/${id}`,
    model,
    severity: 'critical',
    kind: 'break_glass',
    message: `Break-glass promotion of ${version} by ${actor}: ${reason ?? ''}`,
    evidence: { release: id, version, breakGlass: breakGlass ?? null },
  })
}

/** Closes the release: marks a promoted version as proven and detaches the routing. */
export const closeReleaseRow =
  (deps: Deps) =>
  async (given: ReleaseState): Promise<Pick<ReleaseState, 'outcome' | 'reason'>> =>
    withHeartbeat(async (beat) => {
      const state = await endingState(deps, given)
      const { id, version, model, policy } = state
      const end = await deps.store.transaction((database) => close(database, state))
      const now = await findRouting(deps.store, model)
      if (now && end.outcome === 'promoted')
        await awaitAcknowledgements(deps, beat, now.route, policy.watch.acknowledgeMs)
      deps.log.info({ release: id, version, outcome: end.outcome }, `release ended: ${end.reason ?? ''}`)
      return end
    })

/**
 * Requires the rows of a promotion before a release ends as promoted. Without them the release fails and its candidate is rolled back.
 */
async function endingState(deps: Deps, given: ReleaseState): Promise<ReleaseState> {
  const found = await supportedState(deps, deps.store, given)
  const state = found?.state ?? given
  const issue = found && state.outcome === 'promoted' ? issueOfEnd(state, found.record) : undefined
  if (issue === undefined) return state
  return { ...state, outcome: 'failed', reason: `it cannot end as promoted: ${issue}`, shareBp: 0 }
}
