/** Simulates a year of a stream for all contenders at once, day by day, and counts the answers of each. */
import { auc } from '@tenure/sequential'
import {
  contendersOf,
  type Period,
  type PlayedDay,
  type PlayingVersion,
  type Trained,
  type YearContender,
} from './contenders.ts'
import { daysAWeek, incidentOf, playDayMs, playWeek, type PlayedWeek } from './incidents.ts'
import { leadWeeks, type YearStream, type StreamRow } from './streams.ts'
import {
  featuresOf,
  guardedFeatures,
  hasOutside,
  snapshotOf,
  trainVersion,
  type PlayedSnapshot,
  type PlayedVersion,
} from './versions.ts'
import { judgeVersion, playCalmWeek, type JudgedVersion, type CalmWeek } from './badness.ts'
import { withoutFloods } from './tenure/floods.ts'
import { tenure } from './tenure/tenure.ts'
import type { FloodPolicy } from '../../../domain/validation/floods.ts'

export interface WeekResult {
  auc: number
  answers: number
  /** Wrong decisions above those of the weekly version of the calm year on the rows without the incident. */
  harmed: number
  /** Answers by a bad version, by each of the definitions. */
  bad: Record<BadBy, number>
}

/** What a version is compared with: see `JudgedVersion`. */
export type BadBy = 'thanOne' | 'thanMean' | 'certain'

/** A version that is bad by one of them. */
export interface BadVersion extends JudgedVersion {
  id: string
  answers: number
}

export interface ContenderResult {
  name: string
  weeks: WeekResult[]
  trainings: number
  /** Seconds of training. */
  seconds: number
  asked: string[]
  log: string[]
  /** All versions that have answered. */
  versions: BadVersion[]
}

export interface YearResult {
  stream: string
  withIncidents: boolean
  /** The weeks of the year; contenders have those that were simulated. */
  planned: number
  contenders: ContenderResult[]
  seconds: number
}

/** Results of the calm year that the year with incidents needs. */
export type CalmWeeks = Map<number, CalmWeek>

interface Plan {
  withIncidents: boolean
  reference: CalmWeeks
  floods: FloodPolicy
  say: (line: string) => void
  /** Receives the year after each week, because a run may be stopped. */
  keep: (year: YearResult) => void
}

/** A contender with its results. */
interface Entry {
  contender: YearContender
  weeks: WeekResult[]
  /** All versions that have answered. */
  versions: Map<string, BadVersion>
}

export async function playYear(
  stream: YearStream,
  { withIncidents, reference, floods, say, keep }: Plan,
): Promise<YearResult> {
  const began = performance.now()
  const { weeks } = stream
  const entries = [...contendersOf(), tenure()].map((contender): Entry => ({
    contender,
    weeks: [],
    versions: new Map(),
  }))
  const played = new Map<number, PlayedWeek>()
  for (let week = -leadWeeks; week < 0; week++) played.set(week, playWeek(stream, week, undefined))

  const yearSoFar = (): YearResult => ({
    stream: stream.name,
    withIncidents,
    planned: weeks,
    contenders: entries.map(resultOf),
    seconds: (performance.now() - began) / 1_000,
  })

  for (let week = 0; week < weeks; week++) {
    const incident = withIncidents ? incidentOf(week, weeks) : undefined
    const now = playWeek(stream, week, incident)
    played.set(week, now)
    played.delete(week - Math.ceil(stream.split.train + stream.split.test) - 2)
    const table = [...played.values()].flatMap((each) => each.table)
    const clean = stream.week(week)
    const answered = entries.map(emptyWeek)
    for (let place = 0; place < daysAWeek; place++) {
      const { requests } = now
      const recorded = (row: StreamRow) => row
      const day = dayOf(stream, { week, place, incident, table, requests, recorded }, floods)
      for (const { contender } of entries) await contender.morning(day)
      if (place === 0 && !reference.has(week))
        reference.set(week, await playCalmWeek(stream, { week, table, clean }, (await day.train()).version))
      for (const [at, { contender }] of entries.entries()) count(answered[at]!, day, contender.serve(day))
    }
    for (const [at, entry] of entries.entries())
      entry.weeks.push(scoreWeek(entry, answered[at]!, stream, { clean, calm: reference.get(week)! }))
    say(
      `${stream.name}${withIncidents ? ' with incidents' : ''} week ${week}${incident === undefined ? '' : ` (${incident.name})`}: ` +
        entries.map((each) => `${each.contender.name} ${each.weeks.at(-1)!.auc.toFixed(4)}`).join(', '),
    )
    keep(yearSoFar())
  }
  return yearSoFar()
}

const resultOf = ({ contender, weeks, versions }: Entry): ContenderResult => ({
  name: contender.name,
  weeks,
  trainings: contender.trainings,
  seconds: contender.seconds,
  asked: contender.asked,
  log: contender.log,
  versions: [...versions.values()],
})

/** Trainings of days before an incident, by day, which are the same with and without it. */
export type SharedTrainings = Map<string, () => Promise<Trained>>

/** Returns a day of a week, whose trainings are shared by the contenders. */
export function dayOf(
  stream: YearStream,
  played: Pick<PlayedDay, 'week' | 'place' | 'incident' | 'requests' | 'table' | 'recorded'>,
  floods: FloodPolicy,
  shared?: SharedTrainings,
): PlayedDay {
  const { week, place, table } = played
  const id = `v${week}.${place}`
  const dayMs = playDayMs(stream)
  const atMs = week * stream.weekMs + place * dayMs
  const requests = played.requests.filter((row) => row.atMs >= atMs && row.atMs < atMs + dayMs)
  const unguarded = (excluded: readonly Period[] = []) => snapshotOf(without(table, excluded), atMs, stream)
  const snapshot = (excluded: readonly Period[]) => withoutFloods(stream, unguarded(excluded), floods)
  const train = shared?.get(id) ?? once(() => trainOn(stream, unguarded(), id))
  shared?.set(id, train)
  const trainGuarded = async (excluded: readonly Period[]): Promise<Trained> => {
    const rows = await snapshot(excluded)
    const isShared = excluded.length === 0 && rows.floods.length === 0 && !hasOutside(stream, rows)
    const trained = isShared
      ? await train()
      : await trainOn({ ...stream, features: guardedFeatures(stream) }, rows, `${id}-clean`)
    return { ...trained, version: trained.version.guarded() }
  }
  const answers = answersOf(stream, requests)
  return { ...played, stream, atMs, requests, snapshot, train, trainGuarded, answers }
}

/** Scores the answers of a week, and judges each version that has answered. */
function scoreWeek(
  { versions: known }: Entry,
  { y, p, versions, wrong }: Answered,
  stream: YearStream,
  { clean, calm }: { clean: readonly StreamRow[]; calm: CalmWeek },
): WeekResult {
  const bad = { thanOne: 0, thanMean: 0, certain: 0 }
  for (const [{ version, bug }, answers] of versions) {
    const id = bug === undefined ? version.id : `${version.id} with a bug`
    const found = known.get(id) ?? { id, answers: 0, ...judgeVersion(version, clean, calm) }
    known.set(id, { ...found, answers: found.answers + answers })
    for (const by of Object.keys(bad) as BadBy[]) if (bug !== undefined || found[by]) bad[by] += answers
  }
  // A wave adds rows, so the wrong decisions are compared as shares.
  const harmed = wrong - (wrongOf(clean, calm.weekly, stream) * y.length) / clean.length
  return { auc: auc(y, p) ?? 0, answers: y.length, harmed, bad }
}

const without = (table: readonly StreamRow[], excluded: readonly Period[]): readonly StreamRow[] =>
  excluded.length === 0
    ? table
    : table.filter(({ atMs }) => !excluded.some(({ fromMs, toMs }) => atMs >= fromMs && atMs < toMs))

const trainOn = async (stream: YearStream, snapshot: PlayedSnapshot, id: string): Promise<Trained> => ({
  snapshot,
  version: await trainVersion(stream, snapshot, id),
})

export interface Answered {
  y: number[]
  p: number[]
  versions: Map<PlayingVersion, number>
  wrong: number
}

export const emptyWeek = (): Answered => ({ y: [], p: [], versions: new Map(), wrong: 0 })

export function count(
  into: Answered,
  { requests, answers, stream }: PlayedDay,
  served: readonly PlayingVersion[],
): void {
  for (const [row, { label }] of requests.entries()) {
    const by = served[row]!
    const answer = answers(by)[row]!
    into.y.push(label)
    into.p.push(answer)
    into.versions.set(by, (into.versions.get(by) ?? 0) + 1)
    if (Number(answer >= stream.threshold) !== label) into.wrong++
  }
}

export const wrongOf = (
  rows: readonly StreamRow[],
  answers: Float32Array,
  { threshold }: YearStream,
): number =>
  rows.reduce((sum, { label }, row) => sum + Number(Number(answers[row]! >= threshold) !== label), 0)

/** Computes answers with one call for each version and bug. */
function answersOf(
  stream: YearStream,
  requests: readonly StreamRow[],
): (served: PlayingVersion) => Float32Array {
  const [sound, buggy] = [new Map<PlayedVersion, Float32Array>(), new Map<PlayedVersion, Float32Array>()]
  return ({ version, bug }) => {
    const known = bug === undefined ? sound : buggy
    const found = known.get(version)
    if (found !== undefined) return found
    const rows = featuresOf(requests)
    const answers = version.answer(bug === undefined ? rows : rows.map((row) => bug(row, stream)))
    known.set(version, answers)
    return answers
  }
}

function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined
  return () => (result ??= work())
}
