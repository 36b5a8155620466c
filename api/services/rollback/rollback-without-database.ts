/**
 * Stores rollbacks ordered while Postgres is unreachable. This replica and every replica that it reaches serve the proven version at
 * once, store the signed order on their disks, and carry it out in Postgres when it is back.
 */
import { DomainError, isError } from '../../../domain/errors.ts'
import { commandRoles } from '../../../domain/release/state.ts'
import { isNewer } from '../../../domain/serving/route.ts'
import { findKeyAt } from '../../../store/access/api-keys.ts'
import { noteSubject } from '../../../store/access/idempotency.ts'
import { upsertAlert } from '../../../store/monitoring/alerts.ts'
import type { RoutingPlace } from '../../../store/serving/routing.ts'
import { actorOfKey, canAccessModel, type Actor } from '../../auth/authentication.ts'
import type { CommandDeps } from '../../deps.ts'
import { boundedText } from '../../../store/bounded-text.ts'
import type { ApiFetch } from '../../../store/tls/api-fetch.ts'
import { signOrder, type PendingRollback } from '../../serving/routing/pending-rollbacks.ts'
import {
  writeRollback,
  type RollbackInput,
  type RollbackReplica,
  type RollbackResult,
} from './write-rollback.ts'

/** The time limit for another replica's response, in milliseconds. */
const peerMs = 700
/** The most bytes that are read of a peer's answer. */
const maxAnswerBytes = 10_000
const unstored = 'it could not store the order on its disk: a restart brings the version back'

/** Stores an order here and on reachable replicas. Throws `no_rollback_target` when this replica has no version to return to. */
export async function storeRollback(
  { serving, signer, callReplica, log }: CommandDeps,
  actor: Actor,
  { id, model, version, reason }: RollbackInput & { id: string; version: string },
): Promise<RollbackResult> {
  const { name: by } = actor
  const claim = { id, model, version, by, reason }
  const order = signOrder(signer, claim, { keyId: actor.id, nowMs: serving.wall() })
  const { to, isStored } = await serving.rollbacks.keep(order)
  const peers = await Promise.all(serving.peers().map((peer) => sendTo(peer, { order, to }, callReplica)))
  const { id: replica, host } = serving.replica
  const replicas: RollbackReplica[] = [
    { id: replica, host, state: 'follows', reason: isStored ? undefined : unstored },
    ...peers,
  ]
  log.warn({ model, version, to, by, replicas }, 'rollback kept: Postgres is unavailable')
  const heard = replicas.filter(({ state }) => state === 'follows').length
  const others = replicas.flatMap((each) => sentenceOf(each) ?? [])
  const message =
    `${version} is rolled back on ${heard} of ${replicas.length} replicas, where ${to} serves${others.join('')}. ` +
    'Postgres does not answer: these replicas keep the order and carry it out when Postgres is back'
  return { outcome: 'kept', model, from: version, to, version: to, replicas, tookMs: 0, message }
}

/** Describes the problem of a replica that does not follow, or follows only until it restarts; undefined for any other. */
function sentenceOf({ id, host, state, reason }: RollbackReplica): string | undefined {
  const name = `; replica ${id} on ${host}`
  if (state === 'refuses') return `${name} cannot follow: ${reason}`
  if (state !== 'follows') return `${name} was not reached`
  return reason && `${name} follows, but ${reason}`
}

async function sendTo(
  { id, host, url }: { id: string; host: string; url: string },
  { order, to }: { order: PendingRollback; to: string },
  call: ApiFetch = fetch,
): Promise<RollbackReplica> {
  try {
    const answer = await call(new URL('/v1/rollback-orders', url), {
      method: 'POST',
      redirect: 'error',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(order),
      signal: AbortSignal.timeout(peerMs),
    })
    if (!answer.ok) {
      await answer.body?.cancel()
      return { id, host, state: 'refuses', reason: `it answered ${answer.status}` }
    }
    const text = await boundedText(answer.body, maxAnswerBytes)
    const { serves, stored } = JSON.parse(text) as { serves?: string; stored?: boolean }
    if (serves !== to) return { id, host, state: 'refuses', reason: `it serves ${serves} by another route` }
    return { id, host, state: 'follows', reason: stored === false ? unstored : undefined }
  } catch {
    return { id, host, state: 'silent' }
  }
}

/**
 * Carries stored orders out in Postgres. The sender's key must have been valid when it signed: the sender was told that the order is
 * carried out. Drops a refused order, with an alert.
 */
export async function deliverPendingRollbacks(deps: CommandDeps): Promise<void> {
  const { serving, store, log } = deps
  for (const order of serving.rollbacks.list()) {
    const { id, model, version, by, reason } = order
    let place: RoutingPlace | undefined
    try {
      const sender = serving.rollbacks.senderOf(order)
      const key = sender && (await findKeyAt(store, { id: sender.keyId, atMs: sender.signedMs }))
      const allowed = key !== undefined && commandRoles.rollback.includes(key.role)
      if (!allowed || !canAccessModel(actorOfKey(key), model))
        throw new DomainError(
          'forbidden',
          `the key of ${by} could not roll ${model} back when it ordered that`,
        )
      await noteSubject(store, { keyId: key.id, id, version })
      const done = await writeRollback(
        deps,
        { id: key.id, name: by, role: key.role },
        { id, model, version, reason },
      )
      place = done.place
      if (!done.repeated) log.info({ model, version, to: done.to, by }, 'kept rollback carried out')
    } catch (error) {
      if (!isError(error)) throw error
      const { code, message } = error
      if (code === 'postgres_unavailable' || code === 'stale_generation') throw error
      await reportDropped(deps, order, message)
      log.warn({ model, version, by, code }, `kept rollback dropped: ${message}`)
    }
    // The order holds its version back until the written route does, here and after a restart. The next attempt then finds it carried
    // out.
    const isRead = await serving.refresh()
    const route = serving.routing.find(model)?.route
    const isHeld = place !== undefined && (!isRead || route === undefined || isNewer(place, route))
    if (!isHeld) await serving.rollbacks.drop(id)
  }
}

/** Its sender was told that the order is carried out, and its version may serve again. */
const reportDropped = (
  { store }: CommandDeps,
  { id, model, version, by, reason }: PendingRollback,
  why: string,
): Promise<number> =>
  upsertAlert(store, {
    dedupeKey: `rollback_dropped/${id}`,
    model,
    kind: 'rollback_dropped',
    severity: 'critical',
    message:
      `The rollback of ${version} that ${by} ordered while Postgres was away was not carried out: ${why}. ` +
      `If ${version} serves, order it again: \`tenure rollback ${model} --from ${version}\``,
    evidence: { version, by, reason },
  })
