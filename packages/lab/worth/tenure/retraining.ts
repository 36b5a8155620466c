/** Simulates a retraining: the batch is validated, the gate judges the challenger, and a person is asked where the product asks. */
import type { PastTraining, Trigger } from '../../../../domain/monitoring/retraining-triggers.ts'
import { dayNumber, type PlayedDay, type Trained } from '../contenders.ts'
import type { PlayedSnapshot } from '../versions.ts'
import { blockedBy, judgeChallenger, type BlockedFor } from './gate.ts'
import {
  alert,
  ask,
  beginPlayedRelease,
  refuse,
  say,
  type PlayedChampion,
  type PlayedModel,
} from './model.ts'

/** The anchor is the best release of this many weeks. */
const anchorWeeks = 90 / 7
const mostAnchors = 8

interface Outcome {
  outcome: PastTraining['outcome']
  text: string
  /** A challenger that the gate releases without a person. */
  released?: PlayedChampion
}

export async function playRetraining(model: PlayedModel, day: PlayedDay, trigger: Trigger): Promise<void> {
  const { reason, dedupeKey } = trigger
  const { outcome, text, released } = await trainAndJudge(model, day)
  model.trainings.push({ startedMs: day.atMs, reason, dedupeKey, outcome })
  say(model, day, `${reason}: ${outcome}${text === '' ? '' : `, ${text}`}`)
  if (released !== undefined) beginPlayedRelease(model, day, released)
}

async function trainAndJudge(model: PlayedModel, day: PlayedDay): Promise<Outcome> {
  const { source, figures } = model
  const snapshot = await takeSnapshot(model, day)
  if (snapshot.test.length === 0 || snapshot.train.length === 0)
    return { outcome: 'failed', text: 'no rows are left' }
  const blocked = validate(model, day, snapshot)
  if (blocked.length > 0) {
    const text = blocked.map(({ message }) => message).join('; ')
    quarantine(model, day, blocked, text)
    return { outcome: 'quarantined', text }
  }
  const trained = await day.trainGuarded(source.excluded)
  figures.trainings++
  figures.seconds += trained.version.seconds
  return passGate(model, day, trained)
}

/** Takes the rows of the training, without those that a user has excluded. */
async function takeSnapshot(model: PlayedModel, day: PlayedDay): Promise<PlayedSnapshot> {
  const { source } = model
  const { split, weekMs } = day.stream
  const oldest = day.atMs - (split.train + split.test + 1.5) * weekMs
  source.excluded = source.excluded.filter(({ toMs }) => toMs > oldest)
  const snapshot = await day.snapshot(source.excluded)
  for (const { column, message, excluded: rows } of snapshot.floods)
    alert(model, day, `${rows} rows of ${column} are left out: ${message}`)
  return snapshot
}

/** Returns the failed expectations of the batch, and takes note of its rows. */
function validate(model: PlayedModel, { stream }: PlayedDay, snapshot: PlayedSnapshot): BlockedFor[] {
  const { champion, earlierRows } = model
  const blocked = blockedBy(stream, snapshot, {
    champion: champion.version,
    earlierRows: earlierRows.slice(-7).toReversed(),
  })
  model.trainedRows = snapshot.train.length + snapshot.test.length
  earlierRows.push(model.trainedRows)
  return blocked
}

/** Alerts a user to a batch that is quarantined. An alert within a week of another concerns the same fault. */
function quarantine(model: PlayedModel, day: PlayedDay, blocked: readonly BlockedFor[], why: string): void {
  const { toldMs, named } = model.source
  const isNew = blocked.some(
    ({ subject }) => day.atMs - (toldMs.get(subject) ?? -Infinity) > day.stream.weekMs,
  )
  if (isNew) ask(model, day, `the batch is quarantined: ${why}`)
  model.figures.refused.push({ day: dayNumber(day), version: async () => (await day.train()).version })
  for (const { subject } of blocked) toldMs.set(subject, day.atMs)
  named.push(...blocked.flatMap(({ period }) => period ?? []))
}

/** Judges the challenger. A person is alerted to labels that look inverted, and asked where the gate leaves the decision to one. */
function passGate(model: PlayedModel, day: PlayedDay, trained: Trained): Outcome {
  const { source, champion, released } = model
  const anchors = released
    .filter(({ atMs, served }) => atMs >= day.atMs - anchorWeeks * day.stream.weekMs && served !== champion)
    .slice(-mostAnchors)
    .map(({ served }) => served.version)
  const report = judgeChallenger(day.stream, trained, { champion: champion.version, anchors })
  const why = report.reasons.map(({ message }) => message).join('; ')
  if (report.verdict !== 'insufficient') source.repairing = false
  if (report.reasons.some(({ code }) => code === 'labels_reversed') && source.invertedMs === undefined) {
    ask(model, day, why)
    source.invertedMs = day.atMs - day.stream.weekMs
  }
  if (report.verdict === 'not_better' || report.verdict === 'insufficient') {
    refuse(model, day, trained)
    return { outcome: report.verdict, text: why }
  }
  const evaluated = report.metrics.find(({ metric }) => metric === report.policy.primary)?.challenger ?? null
  const challenger = {
    version: trained.version,
    bug: day.incident?.bug,
    evaluated,
    predicted: report.answers,
  }
  if (report.needsPerson) {
    ask(model, day, why, challenger)
    model.waiting = challenger
    return { outcome: 'registered', text: '' }
  }
  return { outcome: 'released', text: `${trained.version.id} ${why}`, released: challenger }
}
