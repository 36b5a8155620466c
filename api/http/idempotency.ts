/**
 * Handles the `Idempotency-Key` header of commands. A sender whose connection broke cannot know the result, so a command runs once per key,
 * and a repeated request gets the stored response, also from another replica and after a restart.
 */
import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError, errorTable, isError, type ErrorCode } from '../../domain/errors.ts'
import {
  claimRequest,
  storeResponse,
  releaseClaim,
  type RequestName,
} from '../../store/access/idempotency.ts'
import { idempotencyHeader } from '../../domain/request-headers.ts'
import type { Database, Store } from '../../store/postgres.ts'
import type { SubjectKey } from '../../store/signing/subject-hash.ts'
import { updateInTurns } from '../../store/objects/slices.ts'
import type { RouteResponse, RouteRequest, HandledRoute, RouteDefinition } from './route.ts'

/**
 * How long a request holds its key. Longer than any command takes; after a replica crashes during a command, repeated requests wait this
 * long.
 */
const holdMs = 60_000
/** How long a repeated request waits for the first response, and how often it polls. */
const waitMs = 15_000
const lookMs = 50

/** What is stored per key: the response, the error, or only that a secret was shown. */
type Kept =
  | { status: number; json: unknown }
  | { refusal: { code: ErrorCode; message: string; context: Readonly<Record<string, unknown>> } }
  | { shown: true }

/** Whether a route is a command. Predictions, forms and reads are not. */
export const mayRepeat = ({ method, allow, page }: RouteDefinition): boolean =>
  method !== 'get' && typeof allow !== 'string' && page !== true

/**
 * Runs a command, or replays its response. Throws `idempotency_conflict` when the key was used for another command, or when the response
 * contained a secret.
 */
export async function executeIdempotent(
  { store, subjects }: { store: Store; subjects: SubjectKey },
  route: HandledRoute,
  asked: Omit<RouteRequest<unknown, unknown>, 'commandId'>,
): Promise<RouteResponse> {
  const ask = { ...asked, commandId: randomUUID() as string }
  const name = ask.header(idempotencyHeader)
  if (name === undefined || ask.actor === undefined || !mayRepeat(route)) return route.handle(ask)
  if (!/^[\x21-\x7e]{1,150}$/.test(name))
    throw new DomainError('invalid_request', `${idempotencyHeader} must be 1 to 150 visible ASCII characters`)
  const request: RequestName = { keyId: ask.actor.id, name }
  const secret = route.namesPerson === true ? subjects.key : ''
  const hashed = createHash('sha256').update(`${secret}${route.method} ${ask.target}\n`)
  await updateInTurns(hashed, ask.bytes)
  const hash = hashed.digest()
  const holder = randomUUID()
  const untilMs = performance.now() + waitMs
  // Derived from the request, so that a repeated request gets the same id while Postgres is unavailable.
  const commandIdWhileAway = createHash('sha256')
    .update(`${request.keyId} ${name}\n`)
    .update(hash)
    .digest('hex')
  for (;;) {
    const claim = await claimRequest(store, { ...request, hash, holder, holdMs }).catch((error: unknown) => {
      if (route.withoutPostgres === true && isError(error, 'postgres_unavailable')) return undefined
      throw error
    })
    if (claim === undefined) return route.handle({ ...ask, commandId: commandIdWhileAway })
    if (claim.kind === 'claimed')
      return runFirst({
        store,
        route,
        ask: { ...ask, commandId: claim.id, commandIdWhileAway },
        claim: { ...request, holder },
      })
    if (claim.kind === 'answered') return replay(claim.answer as Kept)
    if (claim.kind === 'other')
      throw new DomainError('idempotency_conflict', `${JSON.stringify(name)} was used for another command`)
    if (performance.now() > untilMs)
      throw new DomainError('deadline_exceeded', 'the same command is still running')
    await pause(lookMs)
  }
}

interface First {
  store: Store
  route: HandledRoute
  ask: RouteRequest<unknown, unknown>
  claim: RequestName & { holder: string }
}

async function runFirst({ store, route, ask, claim }: First): Promise<RouteResponse> {
  let isKept = false
  const keep = async (database: Database, { status = 200, json }: RouteResponse): Promise<void> => {
    const kept: Kept = route.secretResponse ? { shown: true } : { status, json }
    await storeResponse(database, { ...claim, status, answer: kept })
    isKept = true
  }
  try {
    const answer = await route.handle({ ...ask, keep })
    // A route that works without Postgres may have stored a first result before the replicas followed the order; the final response
    // replaces it.
    if (!isKept || route.withoutPostgres === true)
      await keep(store, answer).catch((error: unknown) => {
        if (route.withoutPostgres !== true || !isError(error, 'postgres_unavailable')) throw error
      })
    return answer
  } catch (error) {
    // A retryable or unexpected error is not stored, so that a repeated request runs the command again.
    if (isError(error) && !errorTable[error.code].retryable) {
      const { code, message, context } = error
      const kept: Kept = { refusal: { code, message, context } }
      await storeResponse(store, { ...claim, status: errorTable[code].status, answer: kept })
    } else await releaseClaim(store, claim).catch(() => {})
    throw error
  }
}

function replay(kept: Kept): RouteResponse {
  const headers = { 'idempotency-replayed': 'true' }
  if ('refusal' in kept) {
    const { code, message, context } = kept.refusal
    throw new DomainError(code, message, context)
  }
  if ('shown' in kept)
    throw new DomainError(
      'idempotency_conflict',
      'the response to this command contained a secret, which is shown once',
    )
  return { status: kept.status, json: kept.json, headers }
}
