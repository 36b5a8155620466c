/**
 * Decides which channels are notified of an alert, and when: escalation for unacknowledged alerts, repetition, and resolution.
 */
export type Severity = 'info' | 'warning' | 'critical'
export const severities: readonly Severity[] = ['info', 'warning', 'critical']

/** A notification channel. */
export interface Channel {
  name: string
  target: ChannelTarget
  severities: readonly Severity[]
  /** All models when absent. */
  models?: readonly string[]
  /** The delay in milliseconds; an alert acknowledged earlier is not sent to this channel. */
  afterMs: number
  /** The repetition in milliseconds while the alert is open and unacknowledged; sent once when absent. */
  repeatMs?: number
}

export type ChannelTarget =
  | { kind: 'slack'; url: string }
  /** Signed as Standard Webhooks (https://www.standardwebhooks.com) when there is a secret. */
  | { kind: 'webhook'; url: string; secret?: string }
  | { kind: 'alertmanager'; url: string }
  | { kind: 'email'; smtp: string; from: string; to: readonly string[] }

export interface AlertFacts {
  severity: Severity
  model?: string
  raisedMs: number
  acknowledgedMs?: number
  resolvedMs?: number
}

/**
 * - `raised`: the alert is open.
 * - `resolved`: the alert has ended. Sent only to channels that were notified of the alert.
 */
export type About = 'raised' | 'resolved'

export interface DeliveryRecord {
  channel: string
  about: About
  /** The time from which it was due. */
  dueMs: number
  /** Whether it is not delivered yet and will be retried. */
  waits?: boolean
  /** The time of the delivery. */
  sentMs?: number | null
}

/** Alertmanager resolves an alert that is not repeated. */
const alertmanagerRepeatMs = 60_000

/** The notifications that are due now; a pure function of alert, channels and history. */
export function dueNotifications(
  alert: AlertFacts,
  given: { channels: readonly Channel[]; told: readonly DeliveryRecord[]; nowMs: number },
): DeliveryRecord[] {
  const { channels, told: history, nowMs } = given
  return channels.flatMap((channel): DeliveryRecord[] => {
    const mine = history.filter(({ channel: name }) => name === channel.name)
    const told = mine.filter(({ about }) => about === 'raised')
    const raised = told.map(({ dueMs, sentMs }) => Math.max(dueMs, sentMs ?? dueMs))
    if (alert.resolvedMs !== undefined) {
      const isOwed = raised.length > 0 && !mine.some(({ about }) => about === 'resolved')
      return isOwed ? [{ channel: channel.name, about: 'resolved', dueMs: alert.resolvedMs }] : []
    }
    if (!concerns(channel, alert)) return []
    // A channel that was unreachable gets one notification when it is back, not one for each missed repetition.
    if (told.some(({ waits }) => waits === true)) return []
    const dueMs = nextRaised(alert, channel, raised)
    return dueMs === undefined || dueMs > nowMs ? [] : [{ channel: channel.name, about: 'raised', dueMs }]
  })
}

const concerns = ({ severities: wanted, models }: Channel, { severity, model }: AlertFacts): boolean =>
  wanted.includes(severity) && (models === undefined || (model !== undefined && models.includes(model)))

function nextRaised(alert: AlertFacts, channel: Channel, raised: readonly number[]): number | undefined {
  const isRelay = channel.target.kind === 'alertmanager'
  if (alert.acknowledgedMs !== undefined && !isRelay) return undefined
  if (raised.length === 0) return alert.raisedMs + channel.afterMs
  const repeatMs = isRelay ? alertmanagerRepeatMs : channel.repeatMs
  return repeatMs === undefined ? undefined : Math.max(...raised) + repeatMs
}

/** The delay before the next delivery attempt; undefined after one day. */
export function retryDelayMs(attempts: number, ageMs: number): number | undefined {
  if (ageMs >= 86_400_000) return undefined
  return Math.min(1_000 * 2 ** Math.min(attempts - 1, 20), 600_000)
}
