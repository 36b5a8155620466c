/** Plays a case for release rules and scores each: when it told a person, what its users got, and what it kept from them. */
import { delong, sumOf } from '@tenure/sequential'
import {
  badBy,
  judgeVersion,
  playCalmWeek,
  z95,
  type CalmWeek,
  type JudgedVersion,
} from '../worth/badness.ts'
import type { PlayedAlarm, PlayedDay, StoppedVersion, YearContender } from '../worth/contenders.ts'
import { daysAWeek } from '../worth/incidents.ts'
import { count, dayOf, emptyWeek, wrongOf, type Answered, type SharedTrainings } from '../worth/play.ts'
import { leadWeeks, type StreamRow, type YearStream } from '../worth/streams.ts'
import { featuresOf, type PlayedVersion } from '../worth/versions.ts'
import {
  caseStream,
  caseWeeks,
  recordedIn,
  truthDay,
  truthWeek,
  weekOfCase,
  type Case,
  type CaseSize,
} from './cases.ts'

export interface RuleResult {
  rule: string
  /** Days from the truth date to the first alarm after it. */
  foundAfterDays?: number
  /** Days with an alarm before the truth date. */
  falseAlarmDays: number
  /** Days with an alarm from the truth date on. */
  alarmDays: number
  /** Wrong decisions after the truth date, above those of clean weekly versions on sound requests. */
  harmed: number
  /** Answers after the truth date by versions that were bad in that week. */
  badAnswers: number
  /** Weeks after the truth date in which a refused version would have been better than what served. */
  blockedWeeks: number
  /** Weeks in which such a version was refused, or a person was asked about it. */
  stoppedWeeks: number
  /** Questions to people. */
  asked: number
  alarms: PlayedAlarm[]
  /** The versions that answered, of each day. */
  served: string[][]
}

/** The weeks of a seed without a failure, with which its cases are compared. */
export interface CalmWeeks {
  stream: YearStream
  weeks: Map<number, CalmWeek>
  trainings: SharedTrainings
}

/** Trains the clean versions of each week. */
export async function openCalmWeeks(size: CaseSize, { again }: { again: boolean }): Promise<CalmWeeks> {
  const stream = caseStream(size)
  const calm: CalmWeeks = { stream, weeks: new Map(), trainings: new Map() }
  for (let week = 0; week < caseWeeks; week++) {
    const table = tableUpTo(calm, week, undefined)
    const clean = stream.week(week)
    const day = dayOf(
      stream,
      { week, place: 0, incident: undefined, table, requests: clean, recorded: (row) => row },
      'thin',
      calm.trainings,
    )
    const { version } = await day.train()
    const isJudged = again && week >= truthWeek
    const weekly = isJudged
      ? await playCalmWeek(stream, { week, table, clean }, version)
      : { weekly: version.answer(featuresOf(clean)), again: [] }
    calm.weeks.set(week, weekly)
  }
  return calm
}

const tableUpTo = ({ stream }: CalmWeeks, week: number, failure: Case | undefined): StreamRow[] =>
  Array.from(
    { length: leadWeeks + week + 1 },
    (_, place) => weekOfCase(stream, place - leadWeeks, failure).table,
  ).flat()

/** Plays a case, or the calm weeks if there is none, for rules that nobody has asked yet. */
export async function playCase(
  calm: CalmWeeks,
  failure: Case | undefined,
  rules: readonly YearContender[],
): Promise<RuleResult[]> {
  // In a feedback loop each rule has a table of its own.
  if (failure?.recorded === undefined) return await playTogether(calm, failure, rules)
  const results: RuleResult[] = []
  for (const rule of rules) results.push(...(await playTogether(calm, failure, [rule])))
  return results
}

interface Entry {
  rule: YearContender
  weeks: { week: number; answered: Answered }[]
  served: string[][]
}

async function playTogether(
  calm: CalmWeeks,
  failure: Case | undefined,
  rules: readonly YearContender[],
): Promise<RuleResult[]> {
  const { stream } = calm
  const entries = rules.map((rule): Entry => ({ rule, weeks: [], served: [] }))
  const played = new Map<number, StreamRow[]>()
  let table = tableUpTo(calm, -1, failure)
  for (let week = 0; week < caseWeeks; week++) {
    const now = weekOfCase(stream, week, failure)
    // A training reads the rows of three weeks and a half.
    const oldestMs = (week - leadWeeks) * stream.weekMs
    table = [...table.filter(({ atMs }) => atMs >= oldestMs), ...now.table]
    played.set(week, now.requests)
    for (const entry of entries) entry.weeks.push({ week, answered: emptyWeek() })
    for (let place = 0; place < daysAWeek; place++) {
      const recorded = recordedIn(stream, week, failure)
      // Up to the truth date, the trainings are those of the calm weeks.
      const isCalm = failure === undefined || 7 * week + place <= truthDay
      const day = dayOf(
        stream,
        { week, place, incident: undefined, requests: now.requests, table, recorded },
        'thin',
        isCalm ? calm.trainings : undefined,
      )
      for (const entry of entries) {
        await entry.rule.morning(day)
        const served = entry.rule.serve(day)
        count(entry.weeks.at(-1)!.answered, day, served)
        entry.served.push([...new Set(served.map(({ version }) => version.id))].toSorted())
        if (failure?.recorded !== undefined) table = recordAnswers(table, day, served)
      }
    }
  }
  for (const { rule } of entries) await rule.close?.()
  const judge = judgeOf(calm, played)
  return await Promise.all(entries.map((entry) => resultOf(calm, entry, { played, judge })))
}

type Judge = (version: PlayedVersion, week: number) => JudgedVersion

/** Judges a version on the requests of a week, as they came and with their true outcomes. */
function judgeOf({ weeks }: CalmWeeks, played: ReadonlyMap<number, StreamRow[]>): Judge {
  const judged = new Map<string, JudgedVersion>()
  return (version, week) => {
    const key = `${version.id}/${week}`
    const found = judged.get(key) ?? judgeVersion(version, played.get(week)!, weeks.get(week)!)
    judged.set(key, found)
    return found
  }
}

/** Returns the table with the rows of a day as they are recorded after the answers. */
function recordAnswers(
  table: readonly StreamRow[],
  day: PlayedDay,
  served: ReturnType<YearContender['serve']>,
): StreamRow[] {
  const recorded = new Map(
    day.requests.map((request, row) => [request.id, day.recorded(request, day.answers(served[row]!)[row]!)]),
  )
  return table.map((row) => recorded.get(row.id) ?? row)
}

interface Played {
  played: ReadonlyMap<number, StreamRow[]>
  judge: Judge
}

async function resultOf(
  calm: CalmWeeks,
  { rule, weeks, served }: Entry,
  { played, judge }: Played,
): Promise<RuleResult> {
  const days = [...new Set(rule.alarms.map(({ day }) => day))]
  // An alarm of the morning of the truth date has seen only rows of the days before.
  const after = days.filter((day) => day > truthDay)
  const result: RuleResult = {
    rule: rule.name,
    falseAlarmDays: days.length - after.length,
    alarmDays: after.length,
    harmed: 0,
    badAnswers: 0,
    blockedWeeks: await countStoppedWeeks(calm, weeks, played, rule.refused),
    stoppedWeeks: await countStoppedWeeks(calm, weeks, played, [...rule.refused, ...rule.questioned]),
    asked: rule.asked.length,
    alarms: rule.alarms,
    served,
  }
  if (after.length > 0) result.foundAfterDays = Math.min(...after) - truthDay
  for (const { week, answered } of weeks.filter((each) => each.week >= truthWeek)) {
    const { weekly, again } = calm.weeks.get(week)!
    result.harmed += answered.wrong - wrongOf(played.get(week)!, weekly, calm.stream)
    if (again.length === 0) continue
    for (const [{ version }, answers] of answered.versions)
      if (judge(version, week).certain) result.badAnswers += answers
  }
  return result
}

/**
 * Counts the weeks from the truth date on in which the rule stopped a version that would have answered the requests of the next seven days
 * certainly better than what served.
 */
async function countStoppedWeeks(
  { stream }: CalmWeeks,
  weeks: Entry['weeks'],
  played: ReadonlyMap<number, StreamRow[]>,
  stopped: readonly StoppedVersion[],
): Promise<number> {
  const requests = weeks.flatMap(({ week }) => played.get(week)!)
  const p = weeks.flatMap(({ answered }) => answered.p)
  const found = new Set<number>()
  for (const { day, version, than } of stopped) {
    const week = Math.floor(day / daysAWeek)
    if (day <= truthDay || found.has(week)) continue
    const fromMs = (day * stream.weekMs) / daysAWeek
    const next = requests.flatMap(({ atMs }, row) =>
      atMs >= fromMs && atMs < fromMs + stream.weekMs ? [row] : [],
    )
    const asked = next.map((row) => requests[row]!)
    const answers = (await version()).answer(featuresOf(asked))
    const others = than?.answer(featuresOf(asked)) ?? Float32Array.from(next, (row) => p[row]!)
    if (isCertainlyBetter(asked, { answers, others }, stream)) found.add(week)
  }
  return found.size
}

/** Whether answers rank the rows better than others, or decide fewer of them wrongly, by more than 0.01 with certainty. */
function isCertainlyBetter(
  rows: readonly StreamRow[],
  { answers, others }: Record<'answers' | 'others', Float32Array>,
  { threshold }: YearStream,
): boolean {
  const { auc1, auc2, standardError } = delong(
    rows.map(({ label }) => label),
    answers,
    others,
  )
  if ((auc1 ?? 0) - (auc2 ?? 0) - z95 * (standardError ?? 0) > badBy) return true
  const isWrong = (answer: number, { label }: StreamRow) => Number(Number(answer >= threshold) !== label)
  const saved = rows.map((row, i) => isWrong(others[i]!, row) - isWrong(answers[i]!, row))
  const mean = sumOf(saved) / rows.length
  const variance = sumOf(saved.map((value) => (value - mean) ** 2)) / rows.length
  return mean - z95 * Math.sqrt(variance / rows.length) > badBy
}
