/**
 * Simulates Tenure as a contender: each day its monitor judges the champion and may retrain; the batch is validated, the gate judges the
 * challenger, and the release is judged while it serves. Approvers are asked only where the product asks.
 */
import {
  defaultTriggerPolicy,
  findTriggers,
  judgeTrigger,
  type PastTraining,
  type Trigger,
} from '../../../domain/monitoring/retraining-triggers.ts'
import type { DecayState } from '../../../domain/monitoring/decay.ts'
import type { YearContender, Period, PlayedDay, PlayingVersion } from '../contenders.ts'
import type { StreamRow } from '../streams.ts'
import { blockedBy, judgeChallenger } from './gate.ts'
import {
  driftedIn,
  invertedDays,
  judgeDay,
  measureQuality,
  triggerPolicyOf,
  type LoggedRow,
} from './monitor.ts'
import { isCandidateBetter, playRelease, type PlayedRelease } from './release.ts'

/** Days of the log of predictions that the monitor reads. */
const logDays = 9
/** The anchor is the best release of this many weeks. */
const anchorWeeks = 90 / 7
const mostAnchors = 8

interface Champion extends PlayingVersion {
  /** The primary metric of its evaluation. */
  evaluated: number | null
}

export function tenure(): YearContender {
  let champion: Champion | undefined
  let before: Champion | undefined
  let release: (PlayedRelease & { evaluated: number | null }) | undefined
  let waiting: Champion | undefined
  let decay: DecayState | undefined
  /** Rows that a user has excluded from the source, after an alert named the period. */
  let leftOut: Period[] = []
  const named: Period[] = []
  /** Whether a user has repaired the source, and starts a retraining each morning until one reaches the gate. */
  let repairing = false
  /** When a user was alerted that labels may be inverted. */
  let invertedMs: number | undefined
  /** When a user was last alerted about a broken column. */
  const toldMs = new Map<string, number>()
  let log: LoggedRow[] = []
  const released: { served: Champion; atMs: number }[] = []
  const trainings: PastTraining[] = []
  const earlierRows: number[] = []
  let trainedRows = 0

  const self: YearContender = {
    name: 'Tenure',
    trainings: 0,
    seconds: 0,
    asked: [],
    log: [],
    async morning(day) {
      if (champion === undefined) return first(day)
      answerPeople(day)
      closeRelease(day)
      log = log.filter(({ atMs }) => atMs >= day.atMs - (logDays * day.stream.weekMs) / 7)
      const trigger = monitor(day) ?? repaired(day)
      if (trigger !== undefined) await retrain(day, trigger)
    },
    serve(day) {
      const hourMs = day.stream.weekMs / 168
      const served: PlayingVersion[] = Array.from({ length: day.requests.length })
      for (let hour = 0; hour < 24; hour++) {
        const fromMs = day.atMs + hour * hourMs
        const rows = day.requests.flatMap(({ atMs }, row) =>
          atMs >= fromMs && (atMs < fromMs + hourMs || hour === 23) ? [row] : [],
        )
        const chosen = release?.hour(day, rows, fromMs + hourMs) ?? rows.map(() => champion!)
        rows.forEach((row, place) => (served[row] = chosen[place]!))
      }
      for (const [row, request] of day.requests.entries()) {
        const by = (served[row] ??= champion!)
        log.push({ ...request, version: by.version.id, answer: day.answers(by)[row]! })
      }
      return served
    },
  }
  const say = ({ week, place }: PlayedDay, text: string) => self.log.push(`week ${week}.${place}: ${text}`)
  const ask = (day: PlayedDay, text: string) => {
    self.asked.push(`week ${day.week}: ${text}`)
    say(day, `a person is asked: ${text}`)
  }

  async function first(day: PlayedDay): Promise<void> {
    const { version, snapshot } = await day.trainGuarded([])
    self.trainings++
    self.seconds += version.seconds
    champion = { version, evaluated: null }
    trainedRows = snapshot.train.length + snapshot.test.length
    trainings.push({ startedMs: day.atMs, reason: 'manual', dedupeKey: 'first', outcome: 'released' })
  }

  /** Returns yesterday's rows whose outcomes are known. */
  const knownRows = ({ atMs, stream }: PlayedDay): StreamRow[] =>
    log.filter((row) => row.knownAtMs <= atMs && row.atMs >= atMs - (2 * stream.weekMs) / 7)

  function answerPeople(day: PlayedDay): void {
    if (invertedMs !== undefined) {
      const days = invertedDays(day.stream, log, { fromMs: invertedMs, nowMs: day.atMs })
      named.push(...days.filter(({ fromMs }) => !leftOut.some((known) => known.fromMs === fromMs)))
      if (days.at(-1)?.toMs !== day.atMs) invertedMs = undefined
    }
    if (named.length > 0) {
      say(day, `a person leaves ${named.length} broken periods out of the source`)
      repairing = true
    }
    leftOut = [...leftOut, ...named.splice(0)]
    if (waiting !== undefined && release === undefined) {
      const better = isCandidateBetter(
        day.stream,
        { candidate: waiting, baseline: champion! },
        knownRows(day),
      )
      say(day, `a person ${better ? 'releases' : 'declines'} ${waiting.version.id}`)
      if (better) begin(day, waiting)
      waiting = undefined
    }
    if (release?.state.stage !== 'awaiting_decision') return
    ask(day, release.state.lastVerdict?.reason ?? '')
    const better = isCandidateBetter(day.stream, release, knownRows(day))
    say(day, `a person ${better ? 'passes' : 'declines'} ${release.state.version}`)
    release.decide(better, day.atMs)
  }

  function closeRelease(day: PlayedDay): void {
    if (release === undefined) return
    const { state, candidate, evaluated } = release
    if (state.stage !== 'ended') return
    say(day, `${state.version} ${state.outcome}: ${state.reason}`)
    const last = trainings.at(-1)
    if ((state.outcome === 'rolled_back' || state.outcome === 'rejected') && last?.outcome === 'released')
      trainings[trainings.length - 1] = { ...last, outcome: 'not_better' }
    if (state.outcome === 'promoted') {
      before = champion
      champion = { ...candidate, evaluated }
      released.push({ served: champion, atMs: day.atMs })
    }
    release = undefined
    decay = undefined
  }

  function monitor(day: PlayedDay): Trigger | undefined {
    const { stream, atMs: nowMs } = day
    const dayMs = stream.weekMs / 7
    // In probation the candidate is champion.
    const serving: Champion = release?.state.promoted
      ? { ...release.candidate, evaluated: release.evaluated }
      : champion!
    const { version } = serving
    const quality = measureQuality(stream, log, { version: version.id, nowMs, baseline: serving.evaluated })
    if (release === undefined && before !== undefined) {
      const looked = judgeDay(
        stream,
        { champion: version, before: before.version, log, nowMs },
        { state: decay, quality },
      )
      decay = looked.state
      if (looked.back !== undefined) {
        say(day, `rolled back to ${before.version.id}: ${looked.back}`)
        champion = before
        before = undefined
        decay = undefined
        return undefined
      }
    }
    const own = (days: number) =>
      log.filter(
        (row) =>
          row.version === version.id &&
          row.atMs >= nowMs - days * dayMs &&
          row.atMs < nowMs - (days - 1) * dayMs,
      )
    const drifted = driftedIn(version, own(1), own(2))
    const last = trainings.at(-1)!
    const fresh = log.filter(({ knownAtMs }) => knownAtMs > last.startedMs && knownAtMs <= nowMs).length
    const policy = triggerPolicyOf(stream, defaultTriggerPolicy)
    const [trigger] = findTriggers(
      {
        model: stream.name,
        champion: version.id,
        windowEndMs: nowMs,
        driftAlarms: drifted,
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

  /** Requests a retraining as a user who has repaired the source; no cooldown applies to users. */
  function repaired(day: PlayedDay): Trigger | undefined {
    if (!repairing || release !== undefined || waiting !== undefined) return undefined
    const message = 'the source is repaired'
    return {
      model: day.stream.name,
      reason: 'manual',
      dedupeKey: `manual/${day.atMs}`,
      message,
      evidence: {},
    }
  }

  async function retrain(day: PlayedDay, trigger: Trigger): Promise<void> {
    const end = (outcome: PastTraining['outcome'], text: string) => {
      trainings.push({ startedMs: day.atMs, reason: trigger.reason, dedupeKey: trigger.dedupeKey, outcome })
      say(day, `${trigger.reason}: ${outcome}${text === '' ? '' : `, ${text}`}`)
    }
    const { split, weekMs } = day.stream
    const oldest = day.atMs - (split.train + split.test + 1.5) * weekMs
    leftOut = leftOut.filter(({ toMs }) => toMs > oldest)
    const snapshot = await day.snapshot(leftOut)
    for (const { column, message, leftOut: rows } of snapshot.floods)
      say(day, `${rows} rows of ${column} are left out: ${message}`)
    if (snapshot.test.length === 0 || snapshot.train.length === 0) return end('failed', 'no rows are left')
    const rows = snapshot.train.length + snapshot.test.length
    const blocked = blockedBy(day.stream, snapshot, {
      champion: champion!.version,
      earlierRows: earlierRows.slice(-7).toReversed(),
    })
    earlierRows.push(rows)
    trainedRows = rows
    if (blocked.length > 0) {
      const why = blocked.map(({ message }) => message).join('; ')
      // An alert within a week of another concerns the same fault.
      const isNew = blocked.some(
        ({ subject }) => day.atMs - (toldMs.get(subject) ?? -Infinity) > day.stream.weekMs,
      )
      if (isNew) ask(day, `the batch is quarantined: ${why}`)
      for (const { subject } of blocked) toldMs.set(subject, day.atMs)
      named.push(...blocked.flatMap(({ period }) => period ?? []))
      return end('quarantined', why)
    }
    const trained = await day.trainGuarded(leftOut)
    self.trainings++
    self.seconds += trained.version.seconds
    const anchors = released
      .filter(({ atMs, served }) => atMs >= day.atMs - anchorWeeks * day.stream.weekMs && served !== champion)
      .slice(-mostAnchors)
      .map(({ served }) => served.version)
    const report = judgeChallenger(day.stream, trained, { champion: champion!.version, anchors })
    const why = report.reasons.map(({ message }) => message).join('; ')
    if (report.verdict !== 'insufficient') repairing = false
    if (report.reasons.some(({ code }) => code === 'labels_reversed') && invertedMs === undefined) {
      ask(day, why)
      invertedMs = day.atMs - day.stream.weekMs
    }
    if (report.verdict === 'not_better' || report.verdict === 'insufficient') return end(report.verdict, why)
    const evaluated =
      report.metrics.find(({ metric }) => metric === report.policy.primary)?.challenger ?? null
    const candidate = { version: trained.version, bug: day.incident?.bug, evaluated }
    if (report.needsPerson) {
      ask(day, why)
      waiting = candidate
      return end('registered', '')
    }
    end('released', `${trained.version.id} ${why}`)
    begin(day, candidate)
  }

  function begin(day: PlayedDay, { evaluated, ...candidate }: Champion): void {
    const opened = playRelease(day.stream, { candidate, baseline: champion!, atMs: day.atMs })
    release = Object.assign(opened, { evaluated })
  }

  return self
}
