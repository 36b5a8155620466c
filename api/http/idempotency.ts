/**
 * The `Idempotency-Key` header of commands: the same command under the same name is carried out once, and its answer given
 * again, also by another replica and after a restart. A sender whose connection broke could not know otherwise whether to
 * send it again.
 */
import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError, errorTable, isError, type ErrorCode } from '../../domain/errors.ts'
import { claimRequest, keepAnswer, releaseClaim, type RequestName } from '../../store/access/idempotency.ts'
import type { Database, Store } from '../../store/postgres.ts'
import type { RouteResponse, RouteRequest, RouteDefinition } from './route.ts'

/** Longer than any command takes; a replica that dies over one holds the others back for so long. */
const holdMs = 60_000
/** How long a repetition waits for the answer to the first, and how often it looks. */
const waitMs = 15_000
const lookMs = 50

export const idempotencyHeader = 'idempotency-key'

/** What is kept: the answer, the refusal, or only that a secret was shown. */
type Kept =
  | { status: number; json: unknown }
  | { refusal: { code: ErrorCode; message: string; context: Readonly<Record<string, unknown>> } }
  | { shown: true }

/** Whether a repetition of a request of this route is looked for: of commands, not of predictions, forms and what is only read. */
const mayRepeat = ({ method, allow, page }: RouteDefinition): boolean =>
  method !== 'get' && typeof allow !== 'string' && page !== true

/**
 * Carries a command out, or answers what was answered before. Throws `idempotency_conflict` when the name was given to
 * another command, or when the answer was a secret.
 */
export async function executeIdempotent(
  { store }: { store: Store },
  route: RouteDefinition,
  asked: Omit<RouteRequest<unknown, unknown>, 'command'> & { path: string },
): Promise<RouteResponse> {
  const ask = { ...asked, command: randomUUID() as string }
  const name = ask.header(idempotencyHeader)
  if (name === undefined || ask.actor === undefined || !mayRepeat(route)) return route.handle(ask)
  if (!/^[\x21-\x7e]{1,150}$/.test(name))
    throw new DomainError('invalid_request', `${idempotencyHeader} is 1 to 150 visible ASCII characters`)
  const request: RequestName = { keyId: ask.actor.id, name }
  const hash = createHash('sha256').update(`${route.method} ${ask.path}\n`).update(ask.bytes).digest()
  const holder = randomUUID()
  const untilMs = performance.now() + waitMs
  for (;;) {
    const claim = await claimRequest(store, { ...request, hash, holder, holdMs })
    if (claim.kind === 'claimed')
      return runFirst({ store, route, ask: { ...ask, command: claim.id }, claim: { ...request, holder } })
    if (claim.kind === 'answered') return replay(claim.answer as Kept)
    if (claim.kind === 'other')
      throw new DomainError('idempotency_conflict', `${JSON.stringify(name)} was given to another command`)
    if (performance.now() > untilMs)
      throw new DomainError('deadline_exceeded', 'the same command is still being carried out')
    await pause(lookMs)
  }
}

interface First {
  store: Store
  route: RouteDefinition
  ask: RouteRequest<unknown, unknown>
  claim: RequestName & { holder: string }
}

async function runFirst({ store, route, ask, claim }: First): Promise<RouteResponse> {
  let isKept = false
  const keep = async (database: Database, { status = 200, json }: RouteResponse): Promise<void> => {
    const kept: Kept = route.secretResponse ? { shown: true } : { status, json }
    await keepAnswer(database, { ...claim, status, answer: kept })
    isKept = true
  }
  try {
    const answer = await route.handle({ ...ask, keep })
    if (!isKept) await keep(store, answer)
    return answer
  } catch (error) {
    // What may go better the next time is not kept; nor is what nobody foresaw.
    if (isError(error) && !errorTable[error.code].retryable) {
      const { code, message, context } = error
      const kept: Kept = { refusal: { code, message, context } }
      await keepAnswer(store, { ...claim, status: errorTable[code].status, answer: kept })
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
      'the answer to this command was a secret, which is shown once',
    )
  return { status: kept.status, json: kept.json, headers }
}
