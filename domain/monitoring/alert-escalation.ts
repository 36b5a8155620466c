/** Decides which channels are notified of an alert, and when: escalation of unacknowledged alerts, repetition, and resolution. */
export type Severity = 'info' | 'warning' | 'critical'
export const severities: readonly Severity[] = ['info', 'warning', 'critical']

/** A notification channel. */
export interface Channel {
  name: string
  target: ChannelTarget
  /** `machine`: the file of alert channels, written by the operator of this machine. `state`: `tenure apply`, through the API. */
  setBy: 'machine' | 'state'
  severities: readonly Severity[]
  /** Default: all models. */
  models?: readonly string[]
  /** Whether requests and ends of releases are sent whatever their severity. Default: yes. */
  releases?: boolean
  /** The delay in milliseconds; an alert acknowledged earlier is not sent to this channel. */
  afterMs: number
  /** The repetition interval in milliseconds while the alert is open and unacknowledged. Absent: sent once. */
  repeatMs?: number
}

export type ChannelTarget =
  /** With buttons when there is a signing secret. `users`: Slack user id → name of the key. */
  | { kind: 'slack'; url: string; signingSecret?: string; users?: Readonly<Record<string, string>> }
  | { kind: 'teams'; url: string }
  | { kind: 'pagerduty'; url: string; routingKey: string }
  | { kind: 'opsgenie'; url: string; apiKey: string }
  /** Signed as Standard Webhooks (https://www.standardwebhooks.com) when there is a secret. */
  | { kind: 'webhook'; url: string; secret?: string }
  | { kind: 'alertmanager'; url: string }
  | { kind: 'email'; smtp: string; from: string; to: readonly string[] }

export interface AlertFacts {
  severity: Severity
  model?: string
  raisedMs: number
  /** What identifies its cause. */
  cause?: string
  /** The highest severity that it has had, and when it rose or the cause changed; absent while both are those with which it was raised. */
  worst?: Severity
  worstMs?: number
  acknowledgedMs?: number
  resolvedMs?: number
  /** Whether the alert is a request or the end of a release. */
  isReleaseNews?: boolean
  /** Whether the alert reports an event, which has no end. */
  isNotice?: boolean
  /** The time at which the request expires unanswered. */
  expiresMs?: number
}

/**
 * - `raised`: the alert is open.
 * - `reminder`: half or nine tenths of the time for an answer have passed without one.
 * - `resolved`: the alert has ended. Sent only to channels for which the alert was due, after those notifications have arrived or were
 *   given up: a channel may have received one although its delivery failed.
 */
export type About = 'raised' | 'reminder' | 'resolved'

export interface DeliveryRecord {
  channel: string
  about: About
  /** The time at which the notification was due. */
  dueMs: number
  /** Whether the delivery has failed so far and will be retried. */
  waits?: boolean
  /** The time of the delivery, and the severity that the alert had in it. */
  sentMs?: number | null
  sentSeverity?: Severity | null
  /** The cause that the alert had in it. */
  sentCause?: string | null
}

/** Alertmanager resolves an alert that is not repeated. */
const alertmanagerRepeatMs = 60_000

/** The notifications that are due now; a pure function of alert, channels and history. */
export function dueNotifications(
  alert: AlertFacts,
  given: { channels: readonly Channel[]; deliveries: readonly DeliveryRecord[]; nowMs: number },
): DeliveryRecord[] {
  const { channels, deliveries: history, nowMs } = given
  return channels.flatMap((channel): DeliveryRecord[] => {
    const mine = history.filter(({ channel: name }) => name === channel.name)
    const raisedRecords = mine.filter(({ about }) => about === 'raised')
    if (alert.resolvedMs !== undefined && alert.isNotice !== true) {
      const isOwed =
        raisedRecords.length > 0 && !mine.some(({ about, waits }) => about === 'resolved' || waits === true)
      return isOwed ? [{ channel: channel.name, about: 'resolved', dueMs: alert.resolvedMs }] : []
    }
    if (!concerns(channel, alert)) return []
    // A channel that was unreachable gets one notification when it is back, not one per missed repetition.
    if (raisedRecords.some(({ waits }) => waits === true)) return []
    // A channel that received the warning receives the alert again when it becomes critical or has another cause.
    const raised = raisedRecords.filter((message) => isOfNow(message, alert)).map(arrivalOf)
    const dueMs = nextRaised(alert, channel, raised)
    if (dueMs !== undefined && dueMs <= nowMs) return [{ channel: channel.name, about: 'raised', dueMs }]
    const remindMs = raised.length === 0 ? undefined : reminderOf(alert, channel, nowMs)
    if (remindMs === undefined || mine.some((message) => arrivalOf(message) >= remindMs)) return []
    return [{ channel: channel.name, about: 'reminder', dueMs: remindMs }]
  })
}

const arrivalOf = ({ dueMs, sentMs }: DeliveryRecord): number => Math.max(dueMs, sentMs ?? dueMs)

/**
 * Whether the channel was told of the alert at its highest severity and with its cause. The time of arrival does not decide: a message may
 * leave as a warning and arrive after the alert has become critical.
 */
const isOfNow = ({ dueMs, sentSeverity, sentCause }: DeliveryRecord, alert: AlertFacts): boolean =>
  alert.worstMs === undefined ||
  dueMs >= alert.worstMs ||
  (sentSeverity === alert.worst && (sentCause ?? alert.cause) === alert.cause)

const sinceMsOf = ({ raisedMs, worstMs }: AlertFacts): number => worstMs ?? raisedMs

const concerns = (channel: Channel, { severity, model, isReleaseNews }: AlertFacts): boolean =>
  (channel.severities.includes(severity) || (isReleaseNews === true && channel.releases !== false)) &&
  (channel.models === undefined || (model !== undefined && channel.models.includes(model)))

/** Reminders are sent after these shares of the time for an answer. */
const reminders = [0.9, 0.5] as const

/** The last reminder that is due, in whole milliseconds; undefined before the first one, and when the alert is acknowledged. */
function reminderOf(
  { raisedMs, expiresMs, acknowledgedMs }: AlertFacts,
  { target }: Channel,
  nowMs: number,
): number | undefined {
  if (expiresMs === undefined || acknowledgedMs !== undefined || target.kind === 'alertmanager')
    return undefined
  const times = reminders.map((share) => Math.round(raisedMs + share * (expiresMs - raisedMs)))
  return times.find((atMs) => atMs <= nowMs && atMs > raisedMs)
}

function nextRaised(alert: AlertFacts, channel: Channel, raised: readonly number[]): number | undefined {
  const isRelay = channel.target.kind === 'alertmanager'
  if (alert.acknowledgedMs !== undefined && !isRelay) return undefined
  if (raised.length === 0) return sinceMsOf(alert) + channel.afterMs
  if (alert.isNotice === true) return undefined
  const repeatMs = isRelay ? alertmanagerRepeatMs : channel.repeatMs
  return repeatMs === undefined ? undefined : Math.max(...raised) + repeatMs
}

/** The delay before the next delivery attempt; undefined after one day. */
export function retryDelayMs(attempts: number, ageMs: number): number | undefined {
  if (ageMs >= 86_400_000) return undefined
  return Math.min(1_000 * 2 ** Math.min(attempts - 1, 20), 600_000)
}
