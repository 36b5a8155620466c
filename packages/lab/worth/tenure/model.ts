/** The model that Tenure retrains and releases in a simulated year, with what its users know of the source of its rows. */
import type { PredictedAnswers } from '../../../../domain/canary/predicted-answers.ts'
import type { DecayState } from '../../../../domain/monitoring/decay.ts'
import type { PastTraining } from '../../../../domain/monitoring/retraining-triggers.ts'
import {
  dayNumber,
  type YearFigures,
  type Period,
  type PlayedDay,
  type PlayingVersion,
} from '../contenders.ts'
import type { LoggedRow } from './monitor.ts'
import { playRelease, type PlayedRelease } from './release.ts'

export interface PlayedChampion extends PlayingVersion {
  /** The primary metric of its evaluation. */
  evaluated: number | null
  /** What the gate has seen of its answers and the champion's. */
  predicted?: PredictedAnswers
}

export interface PlayedModel {
  figures: YearFigures
  champion: PlayedChampion
  /** The champion before, which serves again when quality is lost. */
  before: PlayedChampion | undefined
  release: (PlayedRelease & { evaluated: number | null }) | undefined
  /** A challenger that needs the answer of a person. */
  waiting: PlayedChampion | undefined
  released: { served: PlayedChampion; atMs: number }[]
  decay: DecayState | undefined
  /** The log of predictions. */
  log: LoggedRow[]
  trainings: PastTraining[]
  trainedRows: number
  /** The rows of all batches so far. */
  earlierRows: number[]
  source: Source
}

interface Source {
  /** Rows that a user has excluded, after an alert named the period. */
  excluded: Period[]
  /** Periods that alerts have named since a user last looked. */
  named: Period[]
  /** Whether a user has repaired the source, and starts a retraining each morning until one reaches the gate. */
  repairing: boolean
  /** When a user was alerted that labels may be inverted. */
  invertedMs: number | undefined
  /** When a user was last alerted about a broken column. */
  toldMs: Map<string, number>
}

/** Trains the first version, which serves without a gate. */
export async function openModel(day: PlayedDay, figures: YearFigures): Promise<PlayedModel> {
  const { version, snapshot } = await day.trainGuarded([])
  figures.trainings++
  figures.seconds += version.seconds
  return {
    figures,
    champion: { version, evaluated: null },
    before: undefined,
    release: undefined,
    waiting: undefined,
    released: [],
    decay: undefined,
    log: [],
    trainings: [{ startedMs: day.atMs, reason: 'manual', dedupeKey: 'first', outcome: 'released' }],
    trainedRows: snapshot.train.length + snapshot.test.length,
    earlierRows: [],
    source: { excluded: [], named: [], repairing: false, invertedMs: undefined, toldMs: new Map() },
  }
}

export const say = ({ figures }: PlayedModel, { week, place }: PlayedDay, text: string) =>
  figures.log.push(`week ${week}.${place}: ${text}`)

/** `about`: the candidate that waits for the answer. */
export function ask(model: PlayedModel, day: PlayedDay, text: string, about?: PlayingVersion): void {
  model.figures.asked.push(`week ${day.week}: ${text}`)
  if (about !== undefined)
    model.figures.questioned.push({
      day: dayNumber(day),
      version: () => Promise.resolve(about.version),
      than: model.champion.version,
    })
  alert(model, day, `a person is asked: ${text}`)
}

/** Tells a person of something that the product alerts to. */
export function alert(model: PlayedModel, day: PlayedDay, text: string): void {
  model.figures.alarms.push({ day: dayNumber(day), text })
  say(model, day, text)
}

export function refuse({ figures }: PlayedModel, day: PlayedDay, { version }: PlayingVersion): void {
  figures.refused.push({ day: dayNumber(day), version: () => Promise.resolve(version) })
}

/** Opens the release of a candidate. */
export function beginPlayedRelease(
  model: PlayedModel,
  day: PlayedDay,
  { evaluated, predicted, ...candidate }: PlayedChampion,
): void {
  const opened = playRelease(day.stream, { candidate, baseline: model.champion, predicted, atMs: day.atMs })
  model.release = Object.assign(opened, { evaluated })
}

/** Takes note of the outcome of a release that has ended. */
export function closePlayedRelease(model: PlayedModel, day: PlayedDay): void {
  const { release, trainings } = model
  if (release?.state.stage !== 'ended') return
  const { state, candidate, evaluated } = release
  const told = `${state.version} ${state.outcome}: ${state.reason}`
  if (state.outcome === 'promoted') say(model, day, told)
  else {
    alert(model, day, told)
    refuse(model, day, candidate)
  }
  const last = trainings.at(-1)
  if ((state.outcome === 'rolled_back' || state.outcome === 'rejected') && last?.outcome === 'released')
    trainings[trainings.length - 1] = { ...last, outcome: 'not_better' }
  if (state.outcome === 'promoted') {
    model.before = model.champion
    model.champion = { ...candidate, evaluated }
    model.released.push({ served: model.champion, atMs: day.atMs })
  }
  model.release = undefined
  model.decay = undefined
}
