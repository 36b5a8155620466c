/**
 * Tells the alert channels what a process sees itself, also while the database is away: that it is away or its disk is full, that the folder
 * of the artifacts is not mounted, and what the caller watches, such as lost rows of the prediction log. While the database answers, these alerts are rows like all others; while it does
 * not, the process sends them itself and records them afterwards.
 *
 * One process sends an alert: the control worker first, a replica where no control worker has sent it, and one process of a machine by a
 * file that only one can create. Machines without a database cannot agree further: when the control worker has sent an alert and runs on
 * another machine than the replica with the lowest id, that replica sends it too. PagerDuty, Opsgenie and Alertmanager join both by its key.
 */
import {
  databaseAlert,
  outageEndText,
  stateDiskAlert,
  unmountedAlert,
  type DatabaseOutage,
} from '../../../domain/serving/outage-alerts.ts'
import { createFolderCheck } from '../../../store/artifact-marker.ts'
import { meaningOfOutage } from '../../../store/outage.ts'
import {
  listOpenAlertKeys,
  resolveAlert,
  upsertAlert,
  type NewAlert,
} from '../../../store/monitoring/alerts.ts'
import { copyStoredChannels } from '../../../store/monitoring/alert-channels.ts'
import {
  adoptSentAlerts,
  askDatabase,
  claimAlert,
  countLosses,
  isDiskFull,
  writeSentAlert,
  machineName,
  recordSentAlert,
  type SentAlert,
} from '../../../store/maintenance/sent-alerts.ts'
import type { SendingDeps } from './send-without-database.ts'
import type { Store } from '../../../store/postgres.ts'
import type { Config } from '../../../temporal.config.ts'

export interface Symptom extends NewAlert {
  /** Another part raises it while the database answers. */
  isRaisedElsewhere?: boolean
}

export interface OutageWatchDeps {
  store: Store
  config: SendingDeps['config'] & Pick<Config, 'outageAlertMs' | 'artifactRoot'>
  log: { warn(fields: Record<string, unknown>, message: string): void }
  /** What this process sees now, besides the database and the disk of its state. */
  symptoms?: () => readonly Symptom[]
  /** Whether another process reports the database before this one: a replica asks those before it. Default: none does. */
  isReportedByOther?: () => Promise<boolean>
  /** How much later than the control worker a replica reports the database. Default: 0. */
  standInMs?: number
  /** The keys of alerts that only this process resolves, which an earlier process in its place may have left open. */
  keys?: readonly string[]
  everyMs?: number
}

/** An outage of the database is over after this time without a failure. */
const quietMs = 5_000
/** Replicas store their counters and their lost rows within this time; then the line about an outage is written. */
const settleMs = 3_000
/** A full disk is reported after this time: a query may fill it for a moment. */
const maxFullMs = 10_000
const copyMs = 10_000

interface Trouble extends DatabaseOutage {
  sinceMs: number
  lastMs: number
}

export interface OutageWatch {
  /** Returns what the process sees, besides the database. */
  seen(): readonly Symptom[]
  stop(): Promise<void>
}

export function watchOutages(deps: OutageWatchDeps): OutageWatch {
  const { store, config, log } = deps
  const { stateDir, outageAlertMs, artifactRoot } = config
  const ofMachine = [
    stateDiskAlert(machineName(), stateDir),
    unmountedAlert(machineName(), artifactRoot),
  ] as const
  const own = new Map<string, SentAlert>()
  /** Symptoms that are rows now: key → message. */
  const raised = new Map<string, string>()
  /** When each symptom was first seen. */
  const since = new Map<string, number>()
  let hasLooked = false
  let trouble: Trouble | undefined
  let seen: readonly Symptom[] = []
  let copiedAt = -Infinity
  let stopped = false

  /** Resolves with whether the database answers and nothing has failed in it for a while. */
  const isSound = async (): Promise<boolean> => {
    const failure = await askDatabase(store)
    const outage = store.outage()
    const nowMs = Date.now()
    if (failure === undefined && outage === undefined)
      return trouble === undefined || nowMs - trouble.lastMs >= quietMs
    const meaning = outage ?? { ...meaningOfOutage(failure?.cause ?? failure), why: failure?.message ?? '' }
    const before = trouble !== undefined && nowMs - trouble.lastMs < quietMs + settleMs ? trouble : undefined
    const { kind, what, why, remedy } = before?.kind === 'full' && meaning.kind === 'away' ? before : meaning
    const sinceMs = before?.sinceMs ?? nowMs - (outage?.forMs ?? 0)
    trouble = { kind, what, why, remedy, sinceMs, lastMs: nowMs, forMs: nowMs - sinceMs }
    return false
  }

  const isUnmounted = createFolderCheck(artifactRoot)

  const lookAround = async (): Promise<Symptom[]> => {
    const stands = await Promise.all([isDiskFull(stateDir), isUnmounted()])
    return [...ofMachine.filter((_, place) => stands[place]), ...(deps.symptoms?.() ?? [])]
  }

  const keepRows = async (symptoms: readonly Symptom[]): Promise<void> => {
    if (!hasLooked) {
      const left = await listOpenAlertKeys(store, [
        'artifacts_unreachable',
        'disk_full',
        'log_rows_dropped',
        'stream_waiting',
      ])
      const keys = [...ofMachine.map(({ dedupeKey }) => dedupeKey), ...(deps.keys ?? [])]
      for (const key of left) if (keys.includes(key)) raised.set(key, '')
      hasLooked = true
    }
    for (const [key, sent] of own) {
      if (isOfDatabase(sent)) continue
      await recordSentAlert(store, sent)
      raised.set(key, sent.alert.message)
      own.delete(key)
    }
    const active = new Map(
      symptoms.filter((each) => each.isRaisedElsewhere !== true).map((each) => [each.dedupeKey, each]),
    )
    for (const [key, alert] of active) {
      if (raised.get(key) === alert.message) continue
      await upsertAlert(store, alert)
      raised.set(key, alert.message)
    }
    for (const key of raised.keys()) {
      if (active.has(key)) continue
      if (!symptoms.some(({ dedupeKey }) => dedupeKey === key))
        await resolveAlert(store, key, 'this process sees it no longer')
      raised.delete(key)
    }
  }

  /** Records what was sent about the database, with what the outage has cost. */
  const recordOutages = async (): Promise<void> => {
    const ended = [...own.values(), ...(await adoptSentAlerts(stateDir))]
    for (const sent of ended) {
      const { kind, dedupeKey } = sent.alert
      const untilMs = trouble?.lastMs ?? Date.now()
      const { sinceMs } = sent
      const forMs = untilMs - sinceMs
      const losses = isOfDatabase(sent) ? await countLosses(store, { sinceMs, untilMs }) : undefined
      await recordSentAlert(store, sent, losses && outageEndText(kind, { forMs, ...losses }))
      own.delete(dedupeKey)
    }
    trouble = undefined
  }

  /** Sends what stands, without the database. */
  const sendDue = async (symptoms: readonly Symptom[]): Promise<void> => {
    const nowMs = Date.now()
    const due = [...symptoms]
    const afterMs = trouble?.kind === 'full' ? Math.min(outageAlertMs, maxFullMs) : outageAlertMs
    if (trouble !== undefined && trouble.forMs >= afterMs) {
      const alert = databaseAlert(trouble)
      const isMine = own.has(alert.dedupeKey)
      if (
        isMine ||
        (trouble.forMs >= afterMs + (deps.standInMs ?? 0) && (await deps.isReportedByOther?.()) !== true)
      )
        due.unshift(alert)
    }
    for (const alert of due) {
      const { isRaisedElsewhere: _, ...plain } = alert
      const key = alert.dedupeKey
      if (raised.has(key)) continue
      const sinceMs = isOfDatabase({ alert }) ? trouble!.sinceMs : (since.get(key) ?? nowMs)
      const mine = own.get(key) ?? (await claimAlert(stateDir, { alert: plain, sinceMs }))
      if (mine === undefined) continue
      // The message of the first time stays: it is what the channels were told.
      own.set(key, mine)
      // Loaded when needed, because a replica has no other use for the code of the channels.
      const { sendWithoutDatabase } = await import('./send-without-database.ts')
      const sent = await sendWithoutDatabase({ config, log }, mine)
      if (sent.length > 0) {
        mine.deliveries.push(...sent)
        await writeSentAlert(mine)
      }
    }
  }

  const look = async (): Promise<void> => {
    const sound = await isSound()
    const symptoms = (seen = await lookAround())
    for (const { dedupeKey } of symptoms) if (!since.has(dedupeKey)) since.set(dedupeKey, Date.now())
    for (const key of since.keys())
      if (!symptoms.some(({ dedupeKey }) => dedupeKey === key)) since.delete(key)
    if (!sound) return sendDue(symptoms)
    await keepRows(symptoms)
    if (trouble !== undefined && Date.now() - trouble.lastMs < quietMs + settleMs) return
    await recordOutages()
    if (performance.now() - copiedAt < copyMs) return
    await copyStoredChannels(store, stateDir)
    copiedAt = performance.now()
  }

  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> = Promise.resolve()
  const round = (): void => {
    running = look()
      .catch((error: Error) => log.warn({ problem: error.message }, 'what stands could not be told'))
      .then(() => {
        if (!stopped) timer = setTimeout(round, deps.everyMs ?? 1_000)
      })
  }
  round()
  return {
    seen: () => seen,
    async stop() {
      stopped = true
      clearTimeout(timer)
      await running
    },
  }
}

const isOfDatabase = ({ alert }: { alert: NewAlert }): boolean =>
  alert.kind === 'postgres_unavailable' || alert.dedupeKey === 'disk_full/database'
