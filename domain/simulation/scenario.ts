/** Defines the scenarios of simulated releases and the world in which they happen. */
import { normalCdf, sumOf } from '@tenure/sequential'
import { percentText } from '../figures.ts'
import { answerShares, rightShare, type RecordedAnswers, type RecordedLabels } from './recorded-answers.ts'

export type TrafficScenario =
  | { kind: 'good' | 'router-drift' | 'no-traffic' | 'control-gone' | 'label-shift' }
  /** The canary fails with this probability, from `fromMs` on. */
  | { kind: 'error'; rate: number; fromMs: number }
  /** The canary answers "yes" this much more often, relative to the champion. */
  | { kind: 'shift'; by: number }
  /** The canary's number is off by this factor. */
  | { kind: 'scale'; factor: number }
  /** The candidate's users buy this much more often, relative to the champion's. */
  | { kind: 'earns'; by: number }
  /** Other systems measure the candidate worse by this share of the control's value. */
  | { kind: 'measured'; by: number }
  /** The sources of the external metrics give no value. */
  | { kind: 'source-away' }
  /** The candidate is wrong on this share of the requests that the champion predicts correctly, beyond what both lose to each other. */
  | { kind: 'worse'; by: number }
  /** The candidate is right on this share of the requests that the champion predicts wrongly, and gives the last answer to them. */
  | { kind: 'better'; by: number }
  /** The share of the last answer among the truths has moved; the champion knows the old one, and the candidate the new one. */
  | { kind: 'base-rate'; from: number; to: number }
  /**
   * A feature of the candidate stops updating: the share of the champion's correct predictions on which the candidate is wrong grows to
   * this value within `overMs`.
   */
  | { kind: 'stale-feature'; by: number; overMs: number }
  /** In this slice, a tenth of the requests, the candidate decides differently on this share. No outcome is known. */
  | { kind: 'slice'; name: string; by: number }
  /** The candidate's latency is multiplied by this factor. */
  | { kind: 'latency'; factor: number }
  /** 500 failing requests of this many users reach the canary within a minute. */
  | { kind: 'storm'; users: number }
  /** The counters stop at this time. */
  | { kind: 'stale'; fromMs: number }

export interface SimulatedWorld {
  requestsPerSecond: number
  tickMs: number
  /** The champion's rates. */
  errorRate: number
  invalidRate: number
  /** How often the champion answers "yes". */
  positiveShare: number
  /** The recorded ticks of a real champion, repeated in a loop; they replace the rates above. */
  recorded?: readonly RecordedTick[]
  /** What the champion answered; replaces `positiveShare`. */
  answers?: RecordedAnswers
  /** The outcomes of the champion. Absent: all become known at once, and the champion is right on nine of ten. */
  labels?: RecordedLabels
  /** How many failed requests one wrong answer costs. Default: 1. */
  wrongCost?: number
  /** Whether the champion answers each request of the candidate too, in every stage. Default: those of a shadow alone. */
  mirrored?: true
}

export interface RecordedTick {
  requests: number
  errors: number
  invalid: number
}

/** With fewer recorded ticks that have requests, a simulation would reproduce noise. */
export const minBusyTicks = 20

export const countBusyTicks = (recorded: readonly RecordedTick[]): number =>
  recorded.filter(({ requests }) => requests > 0).length

export const defaultWorld: SimulatedWorld = {
  requestsPerSecond: 100,
  tickMs: 10_000,
  errorRate: 0.005,
  invalidRate: 0.0001,
  positiveShare: 0.2,
}

/** The expected requests and the champion's rates of the tick at this time. */
export function worldAt(
  world: SimulatedWorld,
  atMs: number,
): { requests: number; errorRate: number; invalidRate: number } {
  const { recorded, tickMs } = world
  const tick = recorded?.[Math.floor(atMs / tickMs) % recorded.length]
  if (!tick) return { ...world, requests: (world.requestsPerSecond * tickMs) / 1_000 }
  const { requests, errors, invalid } = tick
  const of = (bad: number) => (requests > 0 ? Math.min(1, bad / requests) : 0)
  return { requests, errorRate: of(errors), invalidRate: of(invalid) }
}

/** The requests of an average day. */
export const requestsPerDayOf = ({ recorded, requestsPerSecond, tickMs }: SimulatedWorld): number =>
  recorded === undefined || recorded.length === 0
    ? requestsPerSecond * 86_400
    : (sumOf(recorded.map(({ requests }) => requests)) * 86_400_000) / (recorded.length * tickMs)

/** A candidate that is better and answers otherwise, with which a policy is simulated beside an equal one. */
export const betterScenario = 'base-rate:0.2:0.3'

/** The syntax of each scenario with its effect. */
export const scenarioForms: Record<string, string> = {
  good: 'the canary is exactly as good as the champion',
  'error:RATE': 'the canary fails RATE (0..1) of its requests, from the first on',
  'error-at:RATE@HOURSh': 'the canary fails RATE (0..1) of its requests, from HOURS hours on',
  'earns:PART':
    'the users of the canary buy more often by PART (relative; negative is less often), as the business metrics of the policy count it',
  'measured:PART':
    'other systems measure the canary worse by PART (relative), as the external metrics of the policy ask them',
  'source-away': 'the sources of the external metrics give no value',
  'latency:FACTOR': 'the canary is FACTOR times as slow',
  'shift:PART':
    'the canary answers "yes", or the last of the recorded answers, more often by PART (relative: 0.1 is a tenth; negative is less often)',
  'scale:FACTOR':
    'the canary answers a number that is FACTOR times too large; of several numbers the first alone',
  'worse:PART':
    'the canary is wrong on PART (0..1) of the requests that the champion answers rightly, beyond what both lose to each other; outcomes come as recorded, or at once',
  'better:PART':
    'the canary is right on PART (0..1) of the requests that the champion answers wrongly, and gives the last answer to them; outcomes come as recorded, or at once',
  'base-rate:FROM:TO':
    'the last answer is right on TO (0..1) of the requests instead of FROM (0..1), which the canary knows and the champion does not; outcomes come as recorded, or at once',
  'stale-feature:PART@HOURSh':
    'a feature of the canary is no longer updated: it is wrong on ever more of what the champion answers rightly, up to PART after HOURS hours; outcomes come as recorded, or at once',
  'slice:NAME:PART':
    'in the slice NAME, a tenth of the requests, the canary decides otherwise on PART (0..1); no outcome is known',
  'storm:USERS': '500 failing requests of USERS users reach the canary within a minute',
  'router-drift': 'the router sends 1.6 times the configured share to the canary',
  'no-traffic': 'no requests',
  'control-gone': 'the champion arm reports no counts',
  'label-shift': 'the share of positive labels changes for both arms',
  'stale-at:HOURSh': 'the counters stop after HOURS hours',
}

const hourMs = 3_600_000

/** Returns the syntax of a scenario, also of one with a wrong value: `error:0.02` → `error:RATE`; undefined for an unknown word. */
export function scenarioForm(text: string): string | undefined {
  const word = (each: string) => each.split(/[:@]/)[0]
  return Object.keys(scenarioForms).find((each) => word(each) === word(text))
}

/** Describes a scenario with its values: "the canary fails 2 % of its requests, from the first on". */
export function describeScenario(text: string): string {
  const form = scenarioForm(text) ?? ''
  const [, ...values] = new RegExp(`^${form.replaceAll(/[A-Z]+/g, '(.+)')}$`).exec(text) ?? []
  const words = form.match(/[A-Z]+/g) ?? []
  return words.reduce(
    (described, word, at) => described.replaceAll(word, valueText(word, values[at])),
    (scenarioForms[form] ?? text).replaceAll(' (0..1)', ''),
  )
}

/** A rate as a percentage; other values as they are typed. */
const valueText = (word: string, value: string | undefined): string =>
  word === 'RATE' && Number.isFinite(Number(value)) ? percentText(Number(value)) : (value ?? word)

/** Parses a scenario; undefined for an unknown syntax. */
export function parseScenario(text: string): TrafficScenario | undefined {
  const slice = /^slice:([A-Za-z][\w-]{0,39}):([\d.]+)$/.exec(text)
  if (slice !== null) {
    const by = Number(slice[2])
    return by <= 1 ? { kind: 'slice', name: slice[1]!, by } : undefined
  }
  const moved = /^base-rate:([\d.]+):([\d.]+)$/.exec(text)
  if (moved !== null) {
    const [from, to] = [Number(moved[1]), Number(moved[2])]
    const isShare = (share: number) => share > 0 && share < 1
    return isShare(from) && isShare(to) ? { kind: 'base-rate', from, to } : undefined
  }
  const [, word, argument, hours] =
    /^([a-z-]+)(?::(-?[\d.]+)?(?:@([\d.]+)h)?)?$/.exec(text.replace(/^stale-at:/, 'stale-at:@')) ?? []
  const value = Number(argument)
  const fromMs = Number(hours) * hourMs
  const isRate = value >= 0 && value <= 1
  switch (word) {
    case 'good':
    case 'router-drift':
    case 'no-traffic':
    case 'control-gone':
    case 'label-shift':
    case 'source-away':
      return text === word ? { kind: word } : undefined
    case 'error':
      return isRate && hours === undefined ? { kind: 'error', rate: value, fromMs: 0 } : undefined
    case 'error-at':
      return isRate && fromMs >= 0 ? { kind: 'error', rate: value, fromMs } : undefined
    case 'worse':
    case 'better':
      return isRate && hours === undefined ? { kind: word, by: value } : undefined
    case 'stale-feature':
      return isRate && fromMs > 0 ? { kind: 'stale-feature', by: value, overMs: fromMs } : undefined
    case 'shift':
      return value > -1 && hours === undefined ? { kind: 'shift', by: value } : undefined
    case 'earns':
      return value > -1 && value <= 10 && hours === undefined ? { kind: 'earns', by: value } : undefined
    case 'measured':
      return value >= 0 && value <= 100 && hours === undefined ? { kind: 'measured', by: value } : undefined
    case 'scale':
      return value > 0 && hours === undefined ? { kind: 'scale', factor: value } : undefined
    case 'latency':
      return value > 0 && hours === undefined ? { kind: 'latency', factor: value } : undefined
    case 'storm':
      return Number.isInteger(value) && value > 0 && hours === undefined
        ? { kind: 'storm', users: value }
        : undefined
    case 'stale-at':
      return fromMs >= 0 && argument === undefined ? { kind: 'stale', fromMs } : undefined
    default:
      return undefined
  }
}

/** The share of the requests in the slice of a scenario. */
export const sliceShare = 0.1

/** Of all requests, those on which the champion alone is right, and those on which the candidate alone is. */
export interface PairShares {
  lost: number
  won: number
}

/**
 * Two versions that were trained on other rows are each alone right on this share of the requests, if they are equally good. Without it a
 * worse candidate would never win a pair, and would be found too early.
 */
const tradedShare = 0.04

/** Which version alone is right, by the outcomes that become known, at this time. */
export function pairShares(
  scenario: TrafficScenario,
  atMs: number,
  { labels }: Pick<SimulatedWorld, 'labels'>,
): PairShares {
  const right = rightShare(labels)
  const traded = Math.min(tradedShare, right, 1 - right)
  const both = (lost: number, won = 0) => ({
    lost: Math.min(right, traded + lost),
    won: Math.min(1 - right, traded + won),
  })
  switch (scenario.kind) {
    case 'worse':
      return both(scenario.by * right)
    case 'stale-feature':
      return both(scenario.by * right * Math.min(1, atMs / scenario.overMs))
    case 'better':
      return both(0, scenario.by * (1 - right))
    case 'base-rate':
      return movedBaseRate(scenario)
    case 'label-shift': {
      const shifted = traded * (atMs >= 6 * hourMs ? 2 : 1)
      return { lost: shifted, won: shifted }
    }
    default:
      return both(0)
  }
}

/** How often the champion is right. */
export const championRight = (
  scenario: TrafficScenario,
  { labels }: Pick<SimulatedWorld, 'labels'>,
): number => (scenario.kind === 'base-rate' ? movedBaseRate(scenario).right : rightShare(labels))

/** How often each version gives each answer. */
export function answersOf(
  scenario: TrafficScenario,
  world: Pick<SimulatedWorld, 'answers' | 'positiveShare' | 'labels'>,
): { champion: number[]; canary: number[] } {
  switch (scenario.kind) {
    case 'shift':
      return answerShares(world, { shift: scenario.by })
    case 'scale':
      return answerShares(world, { factor: scenario.factor })
    case 'better': {
      const { lost, won } = pairShares(scenario, 0, world)
      const last = answerShares(world, {}).champion.at(-1)!
      return answerShares(world, { shift: last > 0 ? (won - lost) / last : 0 })
    }
    case 'base-rate': {
      const { champion, canary } = movedBaseRate(scenario).lastAnswers
      const last = answerShares(world, {}).champion.at(-1)!
      const to = (share: number) => answerShares(world, { shift: share / Math.max(last, 1e-9) - 1 }).canary
      return { champion: to(champion), canary: to(canary) }
    }
    default:
      return answerShares(world, {})
  }
}

/** The distance of the scores of both truths, in standard deviations: an AUC of 0.75. */
const separation = 0.954

/**
 * Both versions rank requests alike, by a score that is normal for each truth, and decide at a probability of one half: the champion with the
 * old share of the last answer, and the candidate with the new one.
 */
function movedBaseRate({ from, to }: { from: number; to: number }) {
  const threshold = (share: number) => separation / 2 - Math.log(share / (1 - share)) / separation
  const above = (score: number) => normalCdf(-score) ?? 0
  const [old, now] = [threshold(from), threshold(to)]
  /** Of all requests, those of one truth with a score above a threshold. */
  const hits = (score: number) => to * above(score - separation)
  const falseAlarms = (score: number) => (1 - to) * above(score)
  const [moreHits, moreAlarms] = [hits(now) - hits(old), falseAlarms(now) - falseAlarms(old)]
  return {
    right: hits(old) + (1 - to) - falseAlarms(old),
    won: to > from ? moreHits : -moreAlarms,
    lost: to > from ? moreAlarms : -moreHits,
    lastAnswers: { champion: hits(old) + falseAlarms(old), canary: hits(now) + falseAlarms(now) },
  }
}

/**
 * The share of all requests that the candidate answers wrongly and the champion would not, less those that it alone answers rightly, at this
 * time, whether or not an outcome ever shows it. Where answers move without a better candidate, each that is in another bin than the
 * champion's is wrong as often as the champion's was right.
 */
export function harmedShare(scenario: TrafficScenario, atMs: number, world: SimulatedWorld): number {
  const right = rightShare(world.labels)
  switch (scenario.kind) {
    case 'slice':
      return sliceShare * scenario.by * right
    case 'shift':
    case 'scale': {
      const { champion, canary } = answersOf(scenario, world)
      return (right * champion.reduce((sum, share, i) => sum + Math.abs(share - canary[i]!), 0)) / 2
    }
    default:
      return Math.max(0, netLoss(scenario, atMs, world))
  }
}

/** How much more often the candidate is wrong than the champion, by the outcomes that become known; negative where it is better. */
export function netLoss(
  scenario: TrafficScenario,
  atMs: number,
  world: Pick<SimulatedWorld, 'labels'>,
): number {
  const { lost, won } = pairShares(scenario, atMs, world)
  return lost - won
}
