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
} from '../../../domain/monitoring/alert-escalation.ts'
import { noticeKinds, releaseNews } from '../../../domain/monitoring/alert-kinds.ts'
import { reasonOf } from '../../../domain/errors.ts'
import { redactedOf } from '../../../domain/redact.ts'
import { cutText } from '../../../domain/visible-text.ts'
import {
  claimNotifications,
  giveUpOutdated,
  insertNotifications,
  listNotifiable,
  markNotificationFailed,
  markNotificationSent,
  listFailing,
  type FailingChannel,
} from '../../../store/monitoring/notifications.ts'
import {
  listOpenAlertKeys,
  resolveAlert,
  upsertAlert,
  type Alert,
  type NewAlert,
} from '../../../store/monitoring/alerts.ts'
import { readChannels, readStoredChannels } from '../../../store/monitoring/alert-channels.ts'
import type { PrivateHosts } from '../../../store/outgoing-address.ts'
import type { Store } from '../../../store/postgres.ts'
import type { Config } from '../../../temporal.config.ts'
import { linkOf, runbookOf } from './message.ts'
import { reportReleases } from './report-releases.ts'
import { send } from './send.ts'
import { fallbackAlerts, fallbackLevels } from '../../../domain/serving/fallback-level.ts'
import { placeOf } from '../../../domain/serving/gateway.ts'
import { gatewayProblem, listGateways } from '../../../store/serving/gateways.ts'
import { listFallbacks, listReportedFallbacks, type FleetFallback } from '../../../store/serving/replicas.ts'

/** The number of characters kept of the reason why a message was not delivered. */
const maxProblemCharacters = 300
/** How long the sending process owns a notification, in ms; longer than sending takes. */
const claimMs = 60_000

export interface DeliveryDeps {
  store: Store
  config: Pick<Config, 'alertChannels' | 'secrets' | 'publicUrl' | 'runbooks' | 'privateHosts'>
  log: { warn(fields: Record<string, unknown>, message: string): void }
}

/** Delivers the due notifications, each once, even if several processes deliver. Returns the number of delivered messages. */
export async function deliverAlerts(deps: DeliveryDeps): Promise<number> {
  const { store, config, log } = deps
  await reportFallbacks(store)
  await reportGateways(store)
  await reportReleases(store)
  const { channels, areAll } = await channelsOf(deps)
  if (channels.length === 0) return 0
  const failing = await reportFailingChannels(store, channels)
  const working = channels.filter(({ name }) => !failing.has(name))
  const { nowMs, alerts } = await listNotifiable(store)
  await insertNotifications(
    store,
    alerts.flatMap(({ alert, deliveries }) => {
      const given = { channels: alert.kind === 'channel_failing' ? working : channels, deliveries, nowMs }
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
      const found = channels.find(({ name }) => name === channel)
      const target = found?.target
      const link = linkOf(config, alert)
      const message = { id, about, alert, former, link, runbook: runbookOf(config, alert.kind) }
      try {
        // After a long pause of this process, another process may have sent it.
        if (performance.now() - claimedAt > claimMs / 2) return false
        if (found === undefined)
          throw new Error(areAll ? 'the channel is no longer configured' : 'the channels cannot be read')
        await send(found.target, message, privateHostsOf(found, config))
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

/** The private hosts that a channel may reach. */
export const privateHostsOf = (
  { setBy }: Channel,
  { privateHosts }: Pick<Config, 'privateHosts'>,
): PrivateHosts => (setBy === 'machine' ? 'all' : privateHosts)

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
  cutText(redactedOf(reasonOf(error), target === undefined ? [] : secretsOf(target)), maxProblemCharacters)

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

// Raises an alert while channels deliver nothing, so that the other channels, pages and `tenure alerts` tell of it.

const dedupeKey = 'alerts/failing'
/** A channel that was unavailable for less than this, in ms, raises no alert. */
const failingMs = 900_000

/** Keeps one alert for all failing channels. Returns their names: the alert is not sent to them, because it could not arrive. */
async function reportFailingChannels(
  store: Store,
  channels: readonly Channel[],
): Promise<ReadonlySet<string>> {
  const byName = new Map(channels.map((channel) => [channel.name, channel]))
  const failing = (await listFailing(store, { forMs: failingMs })).filter(({ channel }) =>
    byName.has(channel),
  )
  const isUrgent = failing.some(({ channel }) => byName.get(channel)?.severities.includes('critical'))
  if (failing.length === 0) await resolveAlert(store, dedupeKey, 'each channel has delivered a message since')
  else
    await upsertAlert(store, {
      dedupeKey,
      severity: isUrgent ? 'critical' : 'warning',
      kind: 'channel_failing',
      cause: failing.map(({ channel }) => channel).join(', '),
      message: failing.map(textOf).join('; '),
      evidence: Object.fromEntries(failing.map(({ channel, since }) => [channel, since])),
    })
  return new Set(failing.map(({ channel }) => channel))
}

const textOf = ({ channel, since, problem }: FailingChannel): string =>
  `${channel} has delivered nothing since ${since}: ${problem}`

// Raises an alert for each active fallback, and resolves the alerts of ended fallbacks.

/**
 * Keeps one alert per model and fallback level. A lower level resolves the alert of the level above. Replicas that cannot load a version
 * while others serve have an alert of their own.
 */
export async function reportFallbacks(store: Store): Promise<void> {
  const fallbacks = await listFallbacks(store)
  if (fallbacks === undefined) return
  const open = new Set(await listReportedFallbacks(store))
  for (const found of fallbacks) {
    if (found.level === 'champion') continue
    const alert = fallbackAlert(found, found.level)
    open.delete(alert.dedupeKey)
    await upsertAlert(store, alert)
  }
  for (const dedupeKey of open)
    await resolveAlert(store, dedupeKey, 'each replica with a lease serves the model without this fallback')
}

function fallbackAlert(
  { model, reason, version, replicas, live }: FleetFallback,
  level: Exclude<FleetFallback['level'], 'champion'>,
): NewAlert {
  const ofLive = `${replicas.length} of ${live} ${live === 1 ? 'replica' : 'replicas'}`
  const evidence = { level, replicas: replicas.length, live, replica: replicas.join(', '), version }
  if (level === 'refused' && version !== undefined && replicas.length < live) {
    const others = live - replicas.length
    return {
      dedupeKey: `fallback/${model}/replica`,
      model,
      severity: 'warning',
      kind: 'replica_cannot_load',
      message: `${ofLive} cannot load ${version}: ${reason}. ${others === 1 ? 'The other replica serves' : `The other ${others} replicas serve`} all traffic.`,
      evidence,
      cause: `${version}: ${reason}`,
    }
  }
  const { kind, severity } = fallbackAlerts[level]
  const message = `${fallbackLevels[level]} On ${ofLive}: ${version === undefined ? reason : `${version} cannot be loaded: ${reason}.`}`
  return {
    dedupeKey: `fallback/${model}/${level}`,
    model,
    severity,
    kind,
    message,
    evidence,
    cause: `${kind}: ${reason}`,
  }
}

// Raises an alert for each gateway that does not follow.

/** A server that gets its share again is down until its next health check. */
const followMs = 5_000

const gatewayKey = (model: string): string => `gateway/${model}`

/** Keeps one alert per model whose gateway has not followed its route for some seconds. */
export async function reportGateways(store: Store): Promise<void> {
  const keys = await listOpenAlertKeys(store, ['gateway_not_following'])
  const open = new Set(keys.filter((key) => key.startsWith(gatewayKey(''))))
  for (const gateway of await listGateways(store)) {
    const problem = gatewayProblem(gateway)
    if (problem === undefined) continue
    const { model, traffic, unownedMs, generation } = gateway
    const place = placeOf(traffic)
    const forMs = unownedMs > 0 ? unownedMs : gateway.forMs
    const dedupeKey = gatewayKey(model)
    if (forMs < followMs && !open.has(dedupeKey)) continue
    open.delete(dedupeKey)
    await upsertAlert(store, {
      dedupeKey,
      model,
      severity: 'critical',
      kind: 'gateway_not_following',
      message: `The gateway ${place} does not follow the route of generation ${generation}: ${problem}`,
      evidence: { gateway: place, generation },
      cause: problem.replaceAll(/ for \d+ s$/g, ''),
    })
  }
  for (const dedupeKey of open)
    await resolveAlert(store, dedupeKey, 'the gateway has the weights of the route')
}
