/**
 * Who is told of an alert, and when. An alert that nobody reads is none; one that is told every minute is read by nobody.
 */

export type Severity = 'info' | 'warning' | 'critical'
export const severities: readonly Severity[] = ['info', 'warning', 'critical']

/** Where people read. */
export interface Channel {
  name: string
  target: ChannelTarget
  severities: readonly Severity[]
  /** All models when absent. */
  models?: readonly string[]
  /** Told only when nobody has acknowledged for so long: those who are called when the first do not answer. */
  afterMs: number
  /** Told again so often while it is open and nobody has acknowledged it; once when absent. */
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
 * - `raised`: it is there, or still there.
 * - `resolved`: its cause is gone. Only whoever was told that it is there is told this.
 */
export type About = 'raised' | 'resolved'

export interface DeliveryRecord {
  channel: string
  about: About
  /** When it was to be told. */
  dueMs: number
  /** Whether it has not arrived yet and is still tried. */
  waits?: boolean
  /** When it arrived. */
  sentMs?: number | null
}

/** An Alertmanager forgets what it is not told again. */
const alertmanagerRepeatMs = 60_000

/** What is to be told now. The same alert, channels and history give the same messages, with the same times. */
export function dueNotifications(
  alert: AlertFacts,
  {
    channels,
    told: history,
    nowMs,
  }: { channels: readonly Channel[]; told: readonly DeliveryRecord[]; nowMs: number },
): DeliveryRecord[] {
  return channels.flatMap((channel): DeliveryRecord[] => {
    const mine = history.filter(({ channel: name }) => name === channel.name)
    const told = mine.filter(({ about }) => about === 'raised')
    const raised = told.map(({ dueMs, sentMs }) => Math.max(dueMs, sentMs ?? dueMs))
    if (alert.resolvedMs !== undefined) {
      const isOwed = raised.length > 0 && !mine.some(({ about }) => about === 'resolved')
      return isOwed ? [{ channel: channel.name, about: 'resolved', dueMs: alert.resolvedMs }] : []
    }
    if (!concerns(channel, alert)) return []
    // A channel that was away for an hour is told once when it is back, and not once for each time it should have been.
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

/** A message that could not be delivered is tried again after this; undefined when it is a day old. */
export function retryDelayMs(attempts: number, ageMs: number): number | undefined {
  if (ageMs >= 86_400_000) return undefined
  return Math.min(1_000 * 2 ** Math.min(attempts - 1, 20), 600_000)
}
