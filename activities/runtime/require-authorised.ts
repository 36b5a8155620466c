/**
 * Checks in the first activity of a workflow that a user's key has authorised its start: once, for this request, a short time ago, and
 * for the champion and the artifact that the user saw.
 */
import { Context } from '@temporalio/activity'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { DomainError } from '../../domain/errors.ts'
import { startRoles, type Authorisation, type Role, type StartType } from '../../domain/roles.ts'
import { findActiveKeys } from '../../store/access/api-keys.ts'
import { findUsedStart, readStartBasis, useStart } from '../../store/access/idempotency.ts'
import { readNow } from '../../store/database/clock.ts'
import type { Database } from '../../store/postgres.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import { verifyStart } from '../../store/signing/start-signatures.ts'
import type { Deps } from '../deps.ts'
import { openVerifier } from './open-verifier.ts'

export interface SignedStart {
  authorisation?: Authorisation | null
  model?: string
  version?: string
  requestedBy?: string
}

/**
 * `order` is the input of the workflow as it was sent. An accepted run stays accepted, because a drill checks its start again for each
 * kind. Throws `forbidden`. No caller waits for the answer, so an alert reports a signed start that opens no run; a forged one raises none.
 */
export async function requireAuthorised(
  deps: Pick<Deps, 'verifier' | 'config'>,
  database: Database,
  { type, order }: { type: StartType; order: SignedStart },
): Promise<void> {
  const { authorisation, ...request } = order
  const refuse = (why: string): never => {
    throw new DomainError('forbidden', `the start of "${type}" ${why}`)
  }
  // Other SDKs send null for an absent field.
  if (authorisation === undefined || authorisation === null)
    return refuse('is not signed; use the API or the `tenure` command, which sign it')
  const { basis } = authorisation
  const [id, signature] = [textOf(authorisation.id), textOf(authorisation.signature)]
  const runId = Context.current().info.workflowExecution!.runId
  const used = await findUsedStart(database, id)
  const nowMs = await readNow(database)
  const signed = { id, basis, signature }
  const claim = verifyStart(openVerifier(deps), { type, request }, signed, used?.atMs ?? nowMs)
  if (claim === undefined) return refuse('was signed for another request, or with another signing key')
  const { keyId } = claim
  const issue = used === undefined ? await issueOf(database, claim, { type, order, nowMs }) : undefined
  if (issue !== undefined) {
    const { model, requestedBy } = order
    await upsertAlert(database, {
      dedupeKey: `start_refused/${id}`,
      model,
      kind: 'start_refused',
      severity: 'warning',
      message: `the start of "${type}" by ${requestedBy ?? keyId} ${issue}`,
      evidence: { type, requestedBy },
    })
    return refuse(issue)
  }
  const opened = used?.runId ?? (await useStart(database, { id, type, runId, keyId }))
  if (opened !== runId) return refuse('has opened another run already; start it again')
}

/** Why a start with a true signature opens no run; undefined when it may. */
async function issueOf(
  database: Database,
  { keyId, untilMs }: { keyId: string; untilMs: number },
  { type, order, nowMs }: { type: StartType; order: SignedStart; nowMs: number },
): Promise<string | undefined> {
  if (nowMs > untilMs) return 'was signed more than 15 minutes ago; start it again'
  if (!(await isAllowed(database, keyId, { type, order })))
    return `is not allowed to the key ${keyId}: it has ended, or lacks the role, the model or the name`
  const [meant, now] = [order.authorisation?.basis, await readStartBasis(database, order)].map(canonicalJson)
  return meant === now ? undefined : `meant ${meant}, and it is ${now} now; start it again`
}

/** A value from a terminal may have any shape. */
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

async function isAllowed(
  database: Database,
  keyId: string,
  { type, order: { model, requestedBy } }: { type: StartType; order: SignedStart },
): Promise<boolean> {
  const key = (await findActiveKeys(database)).find(({ id }) => id === keyId)
  const roles: readonly Role[] = startRoles[type]
  return (
    key !== undefined &&
    roles.includes(key.role) &&
    (requestedBy === undefined || requestedBy === key.name) &&
    (model === undefined || key.models === undefined || key.models.includes(model))
  )
}
