/** Raises an alert while channels deliver nothing, so that the other channels, pages and `tenure alerts` tell of it. */
import type { Channel } from '../domain/monitoring/alert-escalation.ts'
import { resolveAlert, upsertAlert } from '../store/monitoring/alerts.ts'
import { listFailing, type FailingChannel } from '../store/monitoring/notifications.ts'
import type { Store } from '../store/postgres.ts'

const dedupeKey = 'alerts/failing'
/** A channel that was unavailable for less than this, in ms, raises no alert. */
const failingMs = 900_000

/** Keeps one alert for all failing channels. Returns their names: the alert is not sent to them, because it could not arrive. */
export async function reportFailingChannels(
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
