/** Simulates what people do of a morning: they exclude broken rows, repair the source, and answer the questions of releases. */
import type { Trigger } from '../../../../domain/monitoring/retraining-triggers.ts'
import type { PlayedDay } from '../contenders.ts'
import type { StreamRow } from '../streams.ts'
import { ask, beginPlayedRelease, refuse, say, type PlayedModel } from './model.ts'
import { invertedDays } from './monitor.ts'
import { isCandidateBetter } from './release.ts'

export function answerPeople(model: PlayedModel, day: PlayedDay): void {
  repairSource(model, day)
  answerGate(model, day)
  answerRelease(model, day)
}

/** Excludes the periods that alerts have named, and the days whose labels are inverted. */
function repairSource(model: PlayedModel, day: PlayedDay): void {
  const { source, log } = model
  const { named } = source
  if (source.invertedMs !== undefined) {
    const days = invertedDays(day.stream, log, { fromMs: source.invertedMs, nowMs: day.atMs })
    named.push(...days.filter(({ fromMs }) => !source.excluded.some((known) => known.fromMs === fromMs)))
    if (days.at(-1)?.toMs !== day.atMs) source.invertedMs = undefined
  }
  if (named.length > 0) {
    say(model, day, `a person leaves ${named.length} broken periods out of the source`)
    source.repairing = true
  }
  source.excluded = [...source.excluded, ...named.splice(0)]
}

/** Releases or declines a challenger that the gate has left to a person. */
function answerGate(model: PlayedModel, day: PlayedDay): void {
  const { waiting: candidate, champion: baseline } = model
  if (candidate === undefined || model.release !== undefined) return
  const isBetter = isCandidateBetter(day.stream, { candidate, baseline }, knownRows(model, day))
  say(model, day, `a person ${isBetter ? 'releases' : 'declines'} ${candidate.version.id}`)
  if (isBetter) beginPlayedRelease(model, day, candidate)
  else refuse(model, day, candidate)
  model.waiting = undefined
}

/** Passes or declines a release that the judges have left to a person. */
function answerRelease(model: PlayedModel, day: PlayedDay): void {
  const { release } = model
  if (release?.state.stage !== 'awaiting_decision') return
  ask(model, day, release.state.lastVerdict?.reason ?? '', release.candidate)
  const isBetter = isCandidateBetter(day.stream, release, knownRows(model, day))
  say(model, day, `a person ${isBetter ? 'passes' : 'declines'} ${release.state.version}`)
  release.decide(isBetter, day.atMs)
}

/** Returns yesterday's rows whose outcomes are known. */
const knownRows = ({ log }: PlayedModel, { atMs, stream }: PlayedDay): StreamRow[] =>
  log.filter((row) => row.knownAtMs <= atMs && row.atMs >= atMs - (2 * stream.weekMs) / 7)

/** Requests a retraining as a user who has repaired the source; no cooldown applies to users. */
export function repaired({ source, release, waiting }: PlayedModel, day: PlayedDay): Trigger | undefined {
  if (!source.repairing || release !== undefined || waiting !== undefined) return undefined
  return {
    model: day.stream.name,
    reason: 'manual',
    dedupeKey: `manual/${day.atMs}`,
    message: 'the source is repaired',
    evidence: {},
  }
}
