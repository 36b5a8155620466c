/**
 * Checks in the first activity of a workflow that a user has asked for it: by a row that no other run has used, a short time ago, with a
 * key that may still do so, and for the champion and the artifact that the user saw.
 */
import { Context } from '@temporalio/activity'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { DomainError } from '../../domain/errors.ts'
import type { StartType } from '../../domain/roles.ts'
import { rolesOfStart, type StartInputs } from '../../domain/starts.ts'
import { findActiveKeys } from '../../store/access/api-keys.ts'
import { claimStart, findStart, readStartBasis, type Start } from '../../store/commands.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import type { Database } from '../../store/postgres.ts'

/**
 * Reads what a user has asked for, and claims it for the run. `order` is the id of the row, `subject` the model or the view that the workflow
 * is about. An accepted run stays accepted, because a drill reads its start again for each kind. Throws `forbidden`. No caller waits for
 * the answer, so an alert tells of a row that opens no run; an id without a row raises none.
 */
export async function takeStart<Kind extends StartType>(
  database: Database,
  { kind, order, subject }: { kind: Kind; order: unknown; subject?: string },
): Promise<StartInputs[Kind] & { requestedBy: string }> {
  const { runId } = Context.current().info.workflowExecution!
  const refuse = (why: string): never => {
    throw new DomainError('forbidden', `the start of "${kind}" ${why}`)
  }
  // A value from a terminal may have any shape.
  const start = typeof order === 'string' ? await findStart(database, order) : undefined
  if (start === undefined)
    return refuse('names no order; use the API or the `tenure` command, which record one')
  const about = 'view' in start.input ? start.input.view : start.model
  if (start.kind !== kind || (subject !== undefined && subject !== about))
    return refuse(`names ${start.id}, which asks for something else`)
  const issue = start.runId === undefined ? await issueOf(database, start) : undefined
  if (issue !== undefined) {
    const { model, actor } = start
    await upsertAlert(database, {
      dedupeKey: `start_refused/${start.id}`,
      model,
      kind: 'start_refused',
      severity: 'warning',
      message: `the start of "${kind}" by ${actor} ${issue}`,
      evidence: { type: kind, requestedBy: actor },
    })
    return refuse(issue)
  }
  if ((await claimStart(database, { id: start.id, runId })) !== runId)
    return refuse('has opened another run already; start it again')
  return { ...(start.input as StartInputs[Kind]), requestedBy: start.actor }
}

/** Why a row opens no run; undefined when it may. */
async function issueOf(database: Database, start: Start): Promise<string | undefined> {
  const { keyId, accepted, isLate, basis, model, input } = start
  if (accepted === false) return 'was refused'
  if (isLate) return 'was sent more than 15 minutes ago; start it again'
  if (!(await isAllowed(database, start)))
    return `is not allowed to the key ${keyId}: it has ended, or lacks the role, the model or the name`
  const version = 'version' in input ? input.version : undefined
  const [meant, now] = [basis, await readStartBasis(database, { model, version })].map(canonicalJson)
  return meant === now ? undefined : `meant ${meant}, and it is ${now} now; start it again`
}

async function isAllowed(
  database: Database,
  { keyId, kind, model, actor, input }: Pick<Start, 'keyId' | 'kind' | 'model' | 'actor' | 'input'>,
): Promise<boolean> {
  const key = (await findActiveKeys(database)).find(({ id }) => id === keyId)
  const roles = rolesOfStart(kind, input)
  return (
    key !== undefined &&
    roles.includes(key.role) &&
    key.name === actor &&
    (model === undefined || key.models === undefined || key.models.includes(model))
  )
}
