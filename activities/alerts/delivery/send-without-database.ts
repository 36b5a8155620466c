/** Sends an alert to the channels of the file and of the last copy, as the delivery of rows decides and formats it. */
import {
  dueNotifications,
  retryDelayMs,
  type Channel,
  type DeliveryRecord,
} from '../../../domain/monitoring/alert-escalation.ts'
import { readChannels, readCopiedChannels } from '../../../store/monitoring/alert-channels.ts'
import type { Alert } from '../../../store/monitoring/alerts.ts'
import { messageNumber, type SentAlert } from '../../../store/maintenance/sent-alerts.ts'
import { alertFactsOf, privateHostsOf, problemOfSending } from './deliver.ts'
import { runbookOf } from './message.ts'
import type { Config } from '../../../temporal.config.ts'
import { send } from './send.ts'

export interface SendingDeps {
  config: Pick<Config, 'alertChannels' | 'secrets' | 'publicUrl' | 'runbooks' | 'stateDir' | 'privateHosts'>
  log: { warn(fields: Record<string, unknown>, message: string): void }
}

/** Failed attempts by alert and channel. */
const failed = new Map<string, { attempts: number; nextMs: number }>()

/** Resolves with the notifications that have arrived. */
export async function sendWithoutDatabase(
  { config, log }: SendingDeps,
  { alert: plain, sinceMs, deliveries }: SentAlert,
): Promise<DeliveryRecord[]> {
  const alert: Alert = { ...plain, id: 0, raisedAt: new Date(sinceMs).toISOString() }
  const channels = await channelsOnDisk(config)
  const nowMs = Date.now()
  const due = dueNotifications(alertFactsOf(alert), { channels, deliveries, nowMs })
  const sent = await Promise.all(
    due.map(async (record): Promise<DeliveryRecord[]> => {
      const channel = channels.find(({ name }) => name === record.channel)!
      const { target } = channel
      const key = `${alert.dedupeKey} ${record.channel}`
      const { attempts, nextMs } = failed.get(key) ?? { attempts: 0, nextMs: 0 }
      if (nowMs < nextMs) return []
      try {
        // There is no row yet, so the key of the alert identifies the message.
        const id = messageNumber(alert)
        const message = { id, about: record.about, alert, runbook: runbookOf(config, alert.kind) }
        await send(target, message, privateHostsOf(channel, config))
        failed.delete(key)
        return [{ ...record, sentMs: Date.now(), sentSeverity: alert.severity }]
      } catch (error) {
        const problem = problemOfSending(error, target)
        const againMs = retryDelayMs(attempts + 1, 0) ?? 0
        failed.set(key, { attempts: attempts + 1, nextMs: Date.now() + againMs })
        log.warn({ alert: alert.dedupeKey, channel: record.channel, problem }, 'alert not delivered')
        return []
      }
    }),
  )
  return sent.flat()
}

async function channelsOnDisk({
  alertChannels,
  stateDir,
  secrets,
}: SendingDeps['config']): Promise<Channel[]> {
  const ofFile = await readChannels(alertChannels).catch(() => [])
  const copied = await readCopiedChannels(stateDir, secrets).catch(() => [])
  const names = new Set(ofFile.map(({ name }) => name))
  return [...ofFile, ...copied.filter(({ name }) => !names.has(name))]
}
