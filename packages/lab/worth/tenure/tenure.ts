/**
 * Simulates Tenure as a contender: each day its monitor judges the champion and may retrain; the batch is validated, the gate judges the
 * challenger, and the release is judged while it serves. Approvers are asked only where the product asks.
 */
import {
  defaultTriggerPolicy,
  findTriggers,
  judgeTrigger,
  type Trigger,
} from '../../../../domain/monitoring/retraining-triggers.ts'
import type { QualityReport } from '../../../../domain/monitoring/quality.ts'
import { emptyFigures, type YearContender, type PlayedDay, type PlayingVersion } from '../contenders.ts'
import { alert, closePlayedRelease, openModel, type PlayedChampion, type PlayedModel } from './model.ts'
import { driftedIn, judgeDay, measureQuality, triggerPolicyOf } from './monitor.ts'
import { answerPeople, repaired } from './people.ts'
import { playRetraining } from './retraining.ts'

/** Days of the log of predictions that the monitor reads. */
const logDays = 9

export function tenure(): YearContender {
  const figures = emptyFigures()
  let model: PlayedModel | undefined
  return Object.assign(figures, {
    name: 'Tenure',
    async morning(day: PlayedDay) {
      if (model === undefined) model = await openModel(day, figures)
      else await playMorning(model, day)
    },
    serve: (day: PlayedDay) => serveDay(model!, day),
  })
}

async function playMorning(model: PlayedModel, day: PlayedDay): Promise<void> {
  answerPeople(model, day)
  closePlayedRelease(model, day)
  model.log = model.log.filter(({ atMs }) => atMs >= day.atMs - (logDays * day.stream.weekMs) / 7)
  const trigger = monitor(model, day) ?? repaired(model, day)
  if (trigger !== undefined) await playRetraining(model, day, trigger)
}

/** Serves the requests hour by hour, so that a release can judge each hour, and logs the answers. */
function serveDay({ release, champion, log }: PlayedModel, day: PlayedDay): PlayingVersion[] {
  const hourMs = day.stream.weekMs / 168
  const served: PlayingVersion[] = Array.from({ length: day.requests.length })
  for (let hour = 0; hour < 24; hour++) {
    const fromMs = day.atMs + hour * hourMs
    const rows = day.requests.flatMap(({ atMs }, row) =>
      atMs >= fromMs && (atMs < fromMs + hourMs || hour === 23) ? [row] : [],
    )
    const chosen = release?.hour(day, rows, fromMs + hourMs) ?? rows.map(() => champion)
    rows.forEach((row, place) => (served[row] = chosen[place]!))
  }
  for (const [row, request] of day.requests.entries()) {
    const by = (served[row] ??= champion)
    const answer = day.answers(by)[row]!
    log.push({ ...day.recorded(request, answer), version: by.version.id, answer })
  }
  return served
}

/** Judges the version that serves. Returns what starts a retraining today, if anything does. */
function monitor(model: PlayedModel, day: PlayedDay): Trigger | undefined {
  const { release, champion, log } = model
  // In probation the candidate is champion.
  const serving = release?.state.promoted ? { ...release.candidate, evaluated: release.evaluated } : champion
  const quality = measureQuality(day.stream, log, {
    version: serving.version.id,
    nowMs: day.atMs,
    baseline: serving.evaluated,
  })
  if (quality?.level === 'lost')
    alert(model, day, `quality lost: ${quality.reasons.map(({ message }) => message).join('; ')}`)
  if (hasRolledBack(model, day, quality)) return undefined
  return findTrigger(model, day, serving, quality)
}

/** Returns to the champion before when quality is lost outside a release. */
function hasRolledBack(model: PlayedModel, day: PlayedDay, quality: QualityReport | undefined): boolean {
  const { champion, before, log } = model
  if (model.release !== undefined || before === undefined) return false
  const looked = judgeDay(
    { champion: champion.version, before: before.version, log, nowMs: day.atMs },
    { state: model.decay, quality },
  )
  model.decay = looked.state
  if (looked.back === undefined) return false
  alert(model, day, `rolled back to ${before.version.id}: ${looked.back}`)
  model.champion = before
  model.before = undefined
  model.decay = undefined
  return true
}

function findTrigger(
  model: PlayedModel,
  day: PlayedDay,
  { version }: PlayedChampion,
  quality: QualityReport | undefined,
): Trigger | undefined {
  const { release, log, trainings, trainedRows } = model
  const { stream, atMs: nowMs } = day
  const dayMs = stream.weekMs / 7
  const own = (days: number) =>
    log.filter(
      (row) =>
        row.version === version.id &&
        row.atMs >= nowMs - days * dayMs &&
        row.atMs < nowMs - (days - 1) * dayMs,
    )
  const last = trainings.at(-1)!
  const fresh = log.filter(({ knownAtMs }) => knownAtMs > last.startedMs && knownAtMs <= nowMs).length
  const policy = triggerPolicyOf(stream, defaultTriggerPolicy)
  const driftAlarms = driftedIn(version, own(1), own(2))
  if (driftAlarms.length > 0) alert(model, day, `drift of ${driftAlarms.join(', ')}`)
  const [trigger] = findTriggers(
    {
      model: stream.name,
      champion: version.id,
      windowEndMs: nowMs,
      driftAlarms,
      quality: quality && { ...quality, reasons: quality.reasons.map(({ message }) => message) },
      newMaturedRows: fresh,
      trainingRows: trainedRows,
    },
    policy,
  )
  if (trigger === undefined || release !== undefined) return undefined
  const history = { trainings, queued: false, newRows: fresh, trainingRows: trainedRows }
  return judgeTrigger(trigger, history, nowMs, policy).action === 'start' ? trigger : undefined
}
