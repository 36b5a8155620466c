/**
 * Delivers alert notifications. Each is stored before it is sent, so that a crash causes at most one duplicate; an unreachable channel
 * is retried for a day and delays no other.
 */
import {
  dueNotifications,
  retryDelayMs,
  type AlertFacts,
  type Channel,
  type ChannelTarget,
} from '../../domain/monitoring/alert-escalation.ts'
import { reasonOf } from '../../domain/errors.ts'
import { redactedOf } from '../../domain/redact.ts'
import {
  insertNotifications,
  listNotifiable,
  listPendingNotifications,
  markNotificationFailed,
  markNotificationSent,
} from '../../store/monitoring/notifications.ts'
import { resolveAlert, upsertAlert, type Alert } from '../../store/monitoring/alerts.ts'
import { readChannels } from '../../store/monitoring/alert-channels.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'
import { reportFallbacks } from '../monitor/fallback.ts'
import { runbookOf } from './message.ts'
import { send } from './send.ts'

/** Characters kept of a channel's response to a rejected message. */
const mostSaid = 300

export interface TellInput {
  /** How long one activity dispatches before the workflow starts the next. */
  forMs: number
  /** Polling interval without a notification from Postgres. */
  everyMs: number
}

/** Returns the number of delivered messages. */
export const dispatchAlerts =
  (deps: Deps) =>
  ({ forMs, everyMs }: TellInput): Promise<number> =>
    withHeartbeat(async (beat) => {
      const until = performance.now() + forMs
      let sent = 0
      // A notification that arrives during a dispatch is kept for the wait after it.
      let isNew = false
      const unlisten = deps.store.listen('tenure_alerts', () => (isNew = true))
      try {
        while (performance.now() < until) {
          sent += await dispatchDue(deps, beat)
          const nextAt = performance.now() + everyMs
          while (!isNew && performance.now() < nextAt) await beat.sleep(Math.min(100, everyMs))
          isNew = false
        }
      } finally {
        await unlisten()
      }
      return sent
    })

async function dispatchDue(deps: Deps, beat: Beat): Promise<number> {
  const { store, config, log } = deps
  await reportFallbacks(deps)
  const channels = await channelsOf(deps)
  if (channels.length === 0) return 0
  const { nowMs, alerts } = await listNotifiable(store)
  await insertNotifications(
    store,
    alerts.flatMap(({ alert, told }) =>
      dueNotifications(factsOf(alert), { channels, told, nowMs }).map((message) => ({
        ...message,
        alertId: alert.id,
      })),
    ),
  )
  const waiting = await listPendingNotifications(store)
  const tried = await Promise.all(
    waiting.map(async ({ id, alert, channel, about, attempts, ageMs }) => {
      const target = channels.find(({ name }) => name === channel)?.target
      const message = { id, about, alert, runbook: runbookOf(config.runbooks, alert.kind) }
      try {
        if (target === undefined) throw new Error('the channel is no longer configured')
        await send(target, message)
        await markNotificationSent(store, id)
        return true
      } catch (error) {
        const secrets = target === undefined ? [] : secretsOf(target)
        const problem = redactedOf(reasonOf(error), secrets).slice(0, mostSaid)
        const againMs = target === undefined ? undefined : retryDelayMs(attempts + 1, ageMs)
        await markNotificationFailed(store, { id, problem, againMs })
        log.warn({ alert: alert.id, channel, about, problem, againMs }, 'alert not delivered')
        return false
      }
    }),
  )
  beat.check()
  return tried.filter(Boolean).length
}

/** Raises an alert for a channel file that cannot be read; only the dashboard can show it. */
async function channelsOf({ store, config }: Deps): Promise<Channel[]> {
  const dedupeKey = 'alerts/channels'
  try {
    const channels = await readChannels(config.alertChannels)
    await resolveAlert(store, dedupeKey)
    return channels
  } catch (error) {
    const message = reasonOf(error)
    await upsertAlert(store, { dedupeKey, severity: 'critical', kind: 'alert_channels', message })
    return []
  }
}

const factsOf = ({ severity, model, raisedAt, acknowledgedAt, resolvedAt }: Alert): AlertFacts => ({
  severity,
  model,
  raisedMs: Date.parse(raisedAt),
  acknowledgedMs: acknowledgedAt === undefined ? undefined : Date.parse(acknowledgedAt),
  resolvedMs: resolvedAt === undefined ? undefined : Date.parse(resolvedAt),
})

/** Removes secrets: for some channels the address alone permits writing. */
function secretsOf(target: ChannelTarget): (string | undefined)[] {
  const { pathname, search, password } = new URL(target.kind === 'email' ? target.smtp : target.url)
  const secret = target.kind === 'webhook' ? target.secret : undefined
  return [secret, search, pathname, password]
}
