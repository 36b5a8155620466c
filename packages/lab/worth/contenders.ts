/**
 * Simulates the contenders without a server: never retrained, retrained weekly without a gate, weekly with a hold-out threshold, weekly
 * with the rules of Flagger or Argo Rollouts.
 */
import { auc } from '@tenure/sequential'
import { hash32 } from '../../../domain/serving/route.ts'
import { baselineRule, type BaselineRuleName } from '../../../domain/simulation/baseline-rules.ts'
import type { Flood } from '../../../domain/validation/expectations.ts'
import type { Incident } from './incidents.ts'
import type { YearStream, StreamRow } from './streams.ts'
import { featuresOf, type PlayedSnapshot, type PlayedVersion } from './versions.ts'

/** A serving version; a bug of its serving path changes its inputs. */
export interface PlayingVersion {
  version: PlayedVersion
  bug?: Incident['bug']
}

export interface Period {
  fromMs: number
  toMs: number
}

export interface Trained {
  snapshot: PlayedSnapshot
  version: PlayedVersion
}

export interface PlayedDay {
  stream: YearStream
  week: number
  /** Day of its week, from 0. */
  place: number
  atMs: number
  requests: StreamRow[]
  incident: Incident | undefined
  /** Returns the training as of the start of this day, shared by all contenders. */
  train: () => Promise<Trained>
  /** The same without the rows of some periods, and with out-of-range numbers imputed. */
  trainGuarded: (excluded: readonly Period[]) => Promise<Trained>
  /** The same without flooded rows. */
  snapshot: (excluded: readonly Period[]) => Promise<PlayedSnapshot & { floods: Flood[] }>
  /** Returns the probabilities of a version for the requests of this day. */
  answers: (served: PlayingVersion) => Float32Array
  /** The rows that trainings read, without those of weeks that no training reads any more. */
  table: readonly StreamRow[]
  /** Returns a request as the table records it; in a feedback loop its label depends on the answer. */
  recorded: (request: StreamRow, answer: number) => StreamRow
}

/** What tells a person that something is wrong. */
export interface PlayedAlarm {
  /** Day of the year, from 0. */
  day: number
  text: string
}

/** A version that was trained, or could have been, and was not used, or only after a person was asked. */
export interface StoppedVersion {
  day: number
  version: () => Promise<PlayedVersion>
  /** The version that served when the person was asked. */
  than?: PlayedVersion
}

export const dayNumber = ({ week, place }: Pick<PlayedDay, 'week' | 'place'>): number => 7 * week + place

export interface YearContender extends YearFigures {
  name: string
  /** Called before the requests of a day. */
  morning(day: PlayedDay): Promise<void>
  /** Returns which version answers each request of the day. */
  serve(day: PlayedDay): PlayingVersion[]
  /** Called after the last day. */
  close?(): Promise<void>
}

/** What the year is judged by. */
export interface YearFigures {
  trainings: number
  /** Seconds of training. */
  seconds: number
  /** Human decisions that something waited for, and alerts that only a user can resolve. */
  asked: string[]
  log: string[]
  alarms: PlayedAlarm[]
  refused: StoppedVersion[]
  /** The versions that a person was asked about. */
  questioned: StoppedVersion[]
}

export const emptyFigures = (): YearFigures => ({
  trainings: 0,
  seconds: 0,
  asked: [],
  log: [],
  alarms: [],
  refused: [],
  questioned: [],
})

type Rule = (trained: Trained, day: PlayedDay, champion: PlayingVersion) => boolean

function weekly(name: string, rule: Rule, { once = false } = {}): YearContender {
  let champion: PlayingVersion | undefined
  return {
    name,
    ...emptyFigures(),
    async morning(day) {
      if (champion !== undefined && (day.place !== 0 || once)) return
      const trained = await day.train()
      this.trainings++
      this.seconds += trained.version.seconds
      if (champion === undefined || rule(trained, day, champion))
        champion = { version: trained.version, bug: day.incident?.bug }
      else {
        const text = `${trained.version.id} is not used`
        this.log.push(`week ${day.week}: ${text}`)
        this.alarms.push({ day: dayNumber(day), text })
        this.refused.push({ day: dayNumber(day), version: () => Promise.resolve(trained.version) })
      }
    },
    serve: ({ requests }) => requests.map(() => champion!),
  }
}

/** How far the script's threshold lies below the first version. */
const below = 0.02

export const heldOut = ({ snapshot, version }: Trained): number =>
  auc(
    snapshot.test.map(({ told }) => told),
    version.answer(featuresOf(snapshot.test)),
  ) ?? 0

/** How far a version may lie below the champion on the same rows: the default margin of the gate. */
const margin = 0.005

const besideChampion = (): YearContender =>
  weekly(
    'champion beside challenger',
    ({ snapshot, version }, _, champion) =>
      heldOut({ snapshot, version }) >= heldOut({ snapshot, version: champion.version }) - margin,
  )

function withThreshold(): YearContender {
  let threshold: number | undefined
  const contender = weekly('hold-out threshold', (trained) => heldOut(trained) >= threshold!)
  const { morning } = contender
  contender.morning = async function (day) {
    threshold ??= heldOut(await day.train()) - below
    await morning.call(contender, day)
  }
  return contender
}

/** Simulates the rule of a controller: a version serves half of the requests in its first hour; no answer of these versions is an error. */
function withController(name: string, controller: BaselineRuleName): YearContender {
  let before: PlayingVersion | undefined
  const contender = weekly(name, (_, day, champion) => {
    before = champion
    const rule = baselineRule(controller)
    const minuteMs = day.stream.weekMs / 10_080
    return !Array.from({ length: 60 }, (_each, minute) => {
      const [fromMs, toMs] = [day.atMs + minute * minuteMs, day.atMs + (minute + 1) * minuteMs]
      const requests = day.requests.filter(({ atMs }) => atMs >= fromMs && atMs < toMs).length
      const arm = { requests: requests / 2, errors: 0, invalid: 0, slow95: 0, slow99: 0 }
      return rule.add({ startMs: minute * 60_000, shareBp: 5_000, canary: arm, control: arm })
    }).some(Boolean)
  })
  const { serve } = contender
  contender.serve = (day) => {
    const served = serve.call(contender, day)
    const hourMs = day.stream.weekMs / 168
    if (day.place !== 0 || before === undefined) return served
    return day.requests.map(({ id, atMs }, row) =>
      atMs < day.atMs + hourMs && hash32(id) % 2 === 0 ? before! : served[row]!,
    )
  }
  return contender
}

export const contendersOf = (): YearContender[] => [
  weekly('never retrained', () => false, { once: true }),
  weekly('weekly, unjudged', () => true),
  withThreshold(),
  withController("Flagger's rules", 'flagger'),
]

/** Those of a year, the rules of Argo Rollouts, and a script that compares both versions on the same rows. */
export const allRules = (): YearContender[] => [
  ...contendersOf(),
  withController("Argo's rules", 'argo'),
  besideChampion(),
]
