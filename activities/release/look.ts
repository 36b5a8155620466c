/**
 * Applies to a release what has changed outside of its steps: commands, a queued release, another champion, a passed deadline, a
 * cancellation. A workflow only says what it wants looked at; the rows say whether it is so.
 */
import { lostBasis } from '../../domain/release/approval.ts'
import { nextEffect } from '../../domain/release/next-effect.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { appendAudit, listAudit, type Transaction } from '../../store/audit/audit-log.ts'
import { findAnswer, type CommandAnswer } from '../../store/commands.ts'
import type { Database } from '../../store/postgres.ts'
import { findQueued } from '../../store/release/release-queue.ts'
import {
  actFor,
  applyReport,
  type SeenRelease,
  type StepInput,
  type StepReport,
  findReleaseBasis,
} from '../../store/release/releases.ts'
import type { Deps } from '../deps.ts'

export interface CommandLook extends SeenRelease {
  /** The ids that the signals and the update have named. */
  commands: string[]
}

/** Applies the commands that are new. The answers are in the order of the ids; null for an id that is no command to this release. */
export const lookAtCommands =
  ({ store, log }: Deps) =>
  async ({
    commands,
    ...given
  }: CommandLook): Promise<{ state: ReleaseState; answers: (CommandAnswer | null)[] }> =>
    actFor(store, given, async (database, state) => {
      const answers: (CommandAnswer | null)[] = []
      for (const id of commands) answers.push((await findAnswer(database, { id, release: state.id })) ?? null)
      const unknown = answers.filter((each) => each === null).length
      if (unknown > 0 && (await noteUnknown(database, state)))
        log.warn({ release: state.id, unknown }, 'a message named a command that is not recorded')
      return { state, answers }
    })

/** Audits once for each release that a message has named a command without a row. */
async function noteUnknown(database: Transaction, { id, model }: ReleaseState): Promise<boolean> {
  const action = 'command.unknown'
  if ((await listAudit(database, { action, subject: id, limit: 1 })).length > 0) return false
  const reason = 'a signal or an update named a command that is not recorded for this release'
  await appendAudit(database, { actor: 'temporal', action, subject: id, model, detail: { reason } })
  return true
}

const applying =
  (find: (database: Database, state: ReleaseState) => Promise<StepReport | undefined>) =>
  ({ store }: Deps) =>
  (given: SeenRelease): Promise<ReleaseState> =>
    actFor(store, given, async (database, state) => {
      if (state.stage === 'ended') return state
      const report = await find(database, state)
      return report === undefined ? state : applyReport(database, state, report)
    })

/** Ends a release that can never be approved, because its basis has changed. */
export const lookAtBasis = applying(async (database, state) => {
  if (state.stage !== 'awaiting_approval') return undefined
  const lost = lostBasis(state, await findReleaseBasis(database, state))
  return lost && { kind: 'stale', ...lost }
})

/** Gives way to the queued release of the model where its queue entry allows it. */
export const lookAtQueue = applying(async (database, { model }) => {
  const waiting = await findQueued(database, model)
  if (waiting === undefined || waiting.preemption === 'none') return undefined
  const { requestedBy: by, version, preemption: over, hotfixReason: reason = '' } = waiting
  const hotfix = waiting.hotfixReason !== undefined
  return { kind: 'superseded', by, version, over, hotfix, reason }
})

/** The workflow was cancelled from outside: the candidate is rolled back. */
export const cancelRelease = applying(async () => ({ kind: 'cancelled' }))

/** Ends a wait whose time has passed. */
export const endWait =
  ({ store }: Deps) =>
  (input: StepInput): Promise<ReleaseState> =>
    actFor(store, input, async (database, state) => {
      const effect = nextEffect(state)
      if (effect.key !== input.step || !('untilMs' in effect) || effect.untilMs === undefined) return state
      // The clock of the database may be behind the one that the workflow has waited by.
      return applyReport(database, state, { kind: 'timed_out' }, { notBeforeMs: effect.untilMs })
    })

/** Fails a step that has ended without a result: Temporal has given it up. */
export const failStep =
  ({ store }: Deps) =>
  (input: StepInput): Promise<ReleaseState> =>
    actFor(store, input, async (database, state) => {
      const { kind: step, key } = nextEffect(state)
      const message = 'it has ended without a result; the logs of the workers name the cause'
      return key === input.step ? applyReport(database, state, { kind: 'step_failed', step, message }) : state
    })
