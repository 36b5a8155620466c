/**
 * Stores when keys were used, and raises an alert while a service goes on with a secret that was revoked, has expired or was replaced: its
 * callers get 401, which no model counts.
 */
import { groupedDigits } from '../../domain/figures.ts'
import { listQuietAlerts, storeKeyUse, type RefusedKey } from '../../store/access/key-use.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import type { Store } from '../../store/postgres.ts'
import { startLoop, type Loop } from '../serving/poll-loop.ts'

const everyMs = 5_000
/** A service sends this many within seconds or minutes; a person with an old key does not. */
const criticalRequests = 100
/** Unknown secrets that are remembered between two writes; anyone can send others. */
const maxRefused = 1_000
const kind = 'ended_key_used'
const prefix = `${kind}/`

export interface KeyUses extends Pick<Loop, 'stop' | 'wake'> {
  used(id: string): void
  /** Counts a request whose secret opens nothing. */
  refused(hash: Buffer): void
}

export function followKeyUse(store: Store, onError: (what: string, error: unknown) => void): KeyUses {
  let used = new Set<string>()
  let refused = new Map<string, number>()
  const loop = startLoop(
    async () => {
      const sent = { used: [...used], refused }
      used = new Set()
      refused = new Map()
      for (const key of await storeKeyUse(store, sent)) await tell(store, key)
      for (const quiet of await listQuietAlerts(store, prefix))
        await resolveAlert(store, quiet, 'no request with it for ten minutes')
    },
    { everyMs, onError: (error) => onError('the use of keys was not stored', error) },
  )
  return {
    used: (id) => void used.add(id),
    refused(hash) {
      const secret = hash.toString('hex')
      if (refused.has(secret) || refused.size < maxRefused)
        refused.set(secret, (refused.get(secret) ?? 0) + 1)
    },
    wake: loop.wake,
    stop: loop.stop,
  }
}

const reasons = {
  revoked: 'was revoked',
  expired: 'expired',
  replaced: 'has another secret, and the former one was valid',
} as const

async function tell(
  store: Store,
  { id, name, reason, endedAt, refused, refusedSince }: RefusedKey,
): Promise<void> {
  const when = reason === 'replaced' ? `until ${endedAt}` : `at ${endedAt}`
  await upsertAlert(store, {
    dedupeKey: `${prefix}${id}`,
    severity: refused >= criticalRequests ? 'critical' : 'warning',
    kind,
    cause: reason,
    message: `The key ${name} ${reasons[reason]} ${when}, and is still used: ${groupedDigits(refused)} requests refused since ${refusedSince}`,
    evidence: { key: id, name, reason, refused },
  })
}
