/**
 * Delivers alert notifications, from the control worker and from any replica. Stores each notification before sending it, so that a crash
 * causes at most one duplicate. Retries an unreachable channel for a day without delaying the others.
 */
import {
  dueNotifications,
  retryDelayMs,
  type AlertFacts,
  type Channel,
  type ChannelTarget,
} from '../domain/monitoring/alert-escalation.ts'
import { noticeKinds, releaseNews } from '../domain/monitoring/alert-kinds.ts'
import { reasonOf } from '../domain/errors.ts'
import { redactedOf } from '../domain/redact.ts'
import {
  claimNotifications,
  giveUpOutdated,
  insertNotifications,
  listNotifiable,
  markNotificationFailed,
  markNotificationSent,
} from '../store/monitoring/notifications.ts'
import { resolveAlert, upsertAlert, type Alert } from '../store/monitoring/alerts.ts'
import { readChannels } from '../store/monitoring/alert-channels.ts'
import { readStoredChannels } from '../store/monitoring/stored-channels.ts'
import type { Store } from '../store/postgres.ts'
import type { Config } from '../temporal.config.ts'
import { linkOf, runbookOf } from './message.ts'
import { reportFailingChannels } from './report-failing-channels.ts'
import { reportFallbacks } from './report-fallbacks.ts'
import { reportReleases } from './report-releases.ts'
import { send } from './send.ts'

/** The number of characters kept of a channel's response to a rejected message. */
const maxResponseCharacters = 300
/** How long the sending process owns a notification, in ms; longer than sending takes. */
const claimMs = 60_000

export interface DeliveryDeps {
  store: Store
  config: Pick<Config, 'alertChannels' | 'secrets' | 'publicUrl' | 'runbooks'>
  log: { warn(fields: Record<string, unknown>, message: string): void }
}

/** Delivers the due notifications, each once, even if several processes deliver. Returns the number of delivered messages. */
export async function deliverAlerts(deps: DeliveryDeps): Promise<number> {
  const { store, config, log } = deps
  await reportFallbacks(store)
  await reportReleases(store)
  const { channels, areAll } = await channelsOf(deps)
  if (channels.length === 0) return 0
  const failing = await reportFailingChannels(store, channels)
  const working = channels.filter(({ name }) => !failing.has(name))
  const { nowMs, alerts } = await listNotifiable(store)
  await insertNotifications(
    store,
    alerts.flatMap(({ alert, told }) => {
      const given = { channels: alert.kind === 'channel_failing' ? working : channels, told, nowMs }
      return dueNotifications(alertFactsOf(alert), given).map((message) => ({
        ...message,
        alertId: alert.id,
      }))
    }),
  )
  const relays = channels.filter(({ target }) => target.kind === 'alertmanager').map(({ name }) => name)
  await giveUpOutdated(store, { noticeKinds: [...noticeKinds], relays })
  const claimedAt = performance.now()
  const waiting = await claimNotifications(store, { forMs: claimMs })
  const tried = await Promise.all(
    waiting.map(async ({ id, alert, channel, about, attempts, ageMs, former }) => {
      const target = channels.find(({ name }) => name === channel)?.target
      const link = linkOf(config, alert)
      const message = { id, about, alert, former, link, runbook: runbookOf(config, alert.kind) }
      try {
        // After a long pause of this process, another process may have sent it.
        if (performance.now() - claimedAt > claimMs / 2) return false
        if (target === undefined)
          throw new Error(areAll ? 'the channel is no longer configured' : 'the channels cannot be read')
        await send(target, message)
        await markNotificationSent(store, {
          id,
          sentAs: { kind: alert.kind, severity: alert.severity, cause: alert.cause },
        })
        return true
      } catch (error) {
        const problem = problemOfSending(error, target)
        const isGone = target === undefined && areAll
        const againMs = isGone ? undefined : retryDelayMs(attempts + 1, ageMs)
        await markNotificationFailed(store, { id, problem, againMs })
        log.warn({ alert: alert.id, channel, about, problem, againMs }, 'alert not delivered')
        return false
      }
    }),
  )
  return tried.filter(Boolean).length
}

/** Reads the channels of the file and the database. Raises an alert for unreadable ones and returns the others; `areAll`: whether none is. */
async function channelsOf({
  store,
  config,
}: DeliveryDeps): Promise<{ channels: Channel[]; areAll: boolean }> {
  const dedupeKey = 'alerts/channels'
  const problems: string[] = []
  const ofFile = await readChannels(config.alertChannels).catch((error: unknown) => {
    problems.push(reasonOf(error))
    return []
  })
  const stored = await readStoredChannels(store, config.secrets)
  const names = new Set(ofFile.map(({ name }) => name))
  const twice = stored.channels.find(({ name }) => names.has(name))
  problems.push(...stored.problems)
  if (twice !== undefined)
    problems.push(`the channel ${twice.name} is in ${config.alertChannels} and was applied: the file counts`)
  if (problems.length === 0) await resolveAlert(store, dedupeKey, 'all channels can be read')
  else
    await upsertAlert(store, {
      dedupeKey,
      severity: 'critical',
      kind: 'alert_channels',
      cause: problems.join('; '),
      message: problems.join('; '),
    })
  const channels = [...ofFile, ...stored.channels.filter(({ name }) => !names.has(name))]
  return { channels, areAll: problems.length === 0 }
}

export const alertFactsOf = ({ severity, model, kind, evidence, cause, ...times }: Alert): AlertFacts => ({
  severity,
  cause,
  model,
  raisedMs: Date.parse(times.raisedAt),
  worst: times.worst,
  worstMs: msOf(times.worstSince),
  acknowledgedMs: msOf(times.acknowledgedAt),
  resolvedMs: msOf(times.resolvedAt),
  isReleaseNews: releaseNews.has(kind),
  isNotice: noticeKinds.has(kind),
  expiresMs: msOf(evidence?.['until']),
})

const msOf = (at: unknown): number | undefined => (typeof at === 'string' ? Date.parse(at) : undefined)

/** Returns why a message was not delivered, without the secrets of its channel. */
export const problemOfSending = (error: unknown, target: ChannelTarget | undefined): string =>
  redactedOf(reasonOf(error), target === undefined ? [] : secretsOf(target)).slice(0, maxResponseCharacters)

/** Returns the values to redact: for some channels, the address alone permits writing. */
function secretsOf(target: ChannelTarget): (string | undefined)[] {
  const { pathname, search, password } = new URL(target.kind === 'email' ? target.smtp : target.url)
  return [...ownSecrets(target), search, pathname, password]
}

function ownSecrets(target: ChannelTarget): (string | undefined)[] {
  switch (target.kind) {
    case 'webhook':
      return [target.secret]
    case 'slack':
      return [target.signingSecret]
    case 'pagerduty':
      return [target.routingKey]
    case 'opsgenie':
      return [target.apiKey]
    default:
      return []
  }
}
