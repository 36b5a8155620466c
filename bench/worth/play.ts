/** Simulates a year of a stream for all contenders at once, day by day, and counts the answers of each. */
import { auc } from '../../domain/metrics/auc.ts'
import { contendersOf, type Period, type PlayedDay, type PlayingVersion, type Trained } from './contenders.ts'
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
import type { FloodPolicy } from '../../domain/validation/floods.ts'

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

export async function playYear(
  stream: YearStream,
  { withIncidents, reference, floods, say, keep }: Plan,
): Promise<YearResult> {
  const began = performance.now()
  const { weeks, weekMs } = stream
  const dayMs = playDayMs(stream)
  const contenders = [...contendersOf(), tenure()]
  const results = new Map(contenders.map((each) => [each, [] as WeekResult[]]))
  const played = new Map<number, PlayedWeek>()
  for (let week = -leadWeeks; week < 0; week++) played.set(week, playWeek(stream, week, undefined))
  const judged = new Map(contenders.map((each) => [each, new Map<string, BadVersion>()]))

  const yearSoFar = (): YearResult => ({
    stream: stream.name,
    withIncidents,
    planned: weeks,
    contenders: contenders.map((each) => ({
      name: each.name,
      weeks: results.get(each)!,
      trainings: each.trainings,
      seconds: each.seconds,
      asked: each.asked,
      log: each.log,
      versions: [...judged.get(each)!.values()],
    })),
    seconds: (performance.now() - began) / 1_000,
  })

  for (let week = 0; week < weeks; week++) {
    const incident = withIncidents ? incidentOf(week, weeks) : undefined
    const now = playWeek(stream, week, incident)
    played.set(week, now)
    played.delete(week - Math.ceil(stream.split.train + stream.split.test) - 2)
    const table = [...played.values()].flatMap((each) => each.table)
    const clean = stream.week(week)
    const answered = new Map(contenders.map((each) => [each, emptyWeek()]))
    for (let place = 0; place < daysAWeek; place++) {
      const atMs = week * weekMs + place * dayMs
      const requests = now.requests.filter((row) => row.atMs >= atMs && row.atMs < atMs + dayMs)
      const unguarded = (leftOut: readonly Period[] = []) => snapshotOf(without(table, leftOut), atMs, stream)
      const snapshot = (leftOut: readonly Period[]) => withoutFloods(stream, unguarded(leftOut), floods)
      const shared = once(() => trainOn(stream, unguarded(), `v${week}.${place}`))
      const trainGuarded = async (leftOut: readonly Period[]): Promise<Trained> => {
        const rows = await snapshot(leftOut)
        const isShared = leftOut.length === 0 && rows.floods.length === 0 && !hasOutside(stream, rows)
        const trained = isShared
          ? await shared()
          : await trainOn({ ...stream, features: guardedFeatures(stream) }, rows, `v${week}.${place}-clean`)
        return { ...trained, version: trained.version.guarded() }
      }
      const day: PlayedDay = {
        stream,
        week,
        place,
        atMs,
        requests,
        incident,
        snapshot,
        train: shared,
        trainGuarded,
        answers: answersOf(stream, requests),
      }
      for (const contender of contenders) {
        await contender.morning(day)
      }
      if (place === 0 && !reference.has(week))
        reference.set(week, await playCalmWeek(stream, { week, table, clean }, (await day.train()).version))
      for (const contender of contenders) count(answered.get(contender)!, day, contender.serve(day))
    }
    const wrongAtBest = wrongOf(clean, reference.get(week)!.weekly, stream)
    for (const contender of contenders) {
      const { y, p, versions, wrong } = answered.get(contender)!
      const bad = { thanOne: 0, thanMean: 0, certain: 0 }
      for (const [{ version, bug }, answers] of versions) {
        const id = bug === undefined ? version.id : `${version.id} with a bug`
        const known = judged.get(contender)!
        const found = known.get(id) ?? {
          id,
          answers: 0,
          ...judgeVersion(version, clean, reference.get(week)!),
        }
        known.set(id, { ...found, answers: found.answers + answers })
        for (const by of Object.keys(bad) as BadBy[]) if (bug !== undefined || found[by]) bad[by] += answers
      }
      // A wave adds rows, so the wrong decisions are compared as shares.
      const harmed = wrong - (wrongAtBest * y.length) / clean.length
      results.get(contender)!.push({ auc: auc(y, p) ?? 0, answers: y.length, harmed, bad })
    }
    say(
      `${stream.name}${withIncidents ? ' with incidents' : ''} week ${week}${incident === undefined ? '' : ` (${incident.name})`}: ` +
        contenders.map((each) => `${each.name} ${results.get(each)!.at(-1)!.auc.toFixed(4)}`).join(', '),
    )
    keep(yearSoFar())
  }
  return yearSoFar()
}

const without = (table: readonly StreamRow[], leftOut: readonly Period[]): readonly StreamRow[] =>
  leftOut.length === 0
    ? table
    : table.filter(({ atMs }) => !leftOut.some(({ fromMs, toMs }) => atMs >= fromMs && atMs < toMs))

const trainOn = async (stream: YearStream, snapshot: PlayedSnapshot, id: string): Promise<Trained> => ({
  snapshot,
  version: await trainVersion(stream, snapshot, id),
})

interface Answered {
  y: number[]
  p: number[]
  versions: Map<PlayingVersion, number>
  wrong: number
}

const emptyWeek = (): Answered => ({ y: [], p: [], versions: new Map(), wrong: 0 })

function count(
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

const wrongOf = (rows: readonly StreamRow[], answers: Float32Array, { threshold }: YearStream): number =>
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
