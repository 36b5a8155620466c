/**
 * Judges without labels whether a version that was made from another one answers like it: a compressed child is released because it is equal
 * to its parent, so "no visible difference" in few rows must not count as equal.
 *
 * d ∈ [0, 1] is the distance of the two answers to a row, f is 1 where their decisions differ. H0: E[d] ≥ ε. The capital is a mixture of
 * Π(1 + λ(ε − d)) over bets λ below 1/(1 − ε); the versions are equal when it reaches 1/α, and so does that of f (Waudby-Smith and Ramdas,
 * JRSS-B 2024). An entity with several rows counts as one draw, the mean of its rows. Both claims must be proven, so each is tested at the
 * same α: a pair that breaks one of them passes with a probability of at most α (an intersection-union test: Berger, Technometrics 1982).
 * Each child of a parent has a share of α, because it is another chance to pass.
 *
 * A row that the child refuses and the parent answers has d = 1 and f = 1, the largest there are: no answer can be further away. The tests
 * need only that d and f are in [0, 1], so they stay valid: a refusal is an outcome of the row like another one, and not a missing value
 * whose absence could depend on d. A row that the parent refuses has no d, and is left out whatever the child does with it.
 */
import {
  eBenjaminiHochberg,
  logMeanExp,
  meanAbove,
  meanBelow,
  sumOf,
  thresholdFor,
  type MeanTest,
} from '@tenure/sequential'
import { outputWidth } from '@tenure/predictors/features'
import { scalesOfNumbers } from '../canary/holdback.ts'
import { counted, fourDigits, groupedDigits, metricName, percentText } from '../figures.ts'
import { answeredRows, answerReader, answerWidth, type ModelAnswers } from '../metrics/answers.ts'
import type { Manifest } from '../model/manifest.ts'
import { policyIssues } from '../policy-issues.ts'
import { answerLimits, limitsText, type Output } from '../tasks/output.ts'
import { scaledLoss } from '../tasks/numeric.ts'
import { gateOf, taskOf } from '../tasks/tasks.ts'
import type { Reason } from '../verdict.ts'
import type { GateMetric } from './gate-metrics.ts'
import type { GatePolicy } from './policy.ts'
import { membersOf, type RowSlice } from './slices.ts'

export interface FidelityPolicy {
  /** The mean distance of two answers that is too large, above 0 and below 1. */
  epsilon: number
  /** The share of rows with another decision that is too large, above 0 and below 1. */
  flips: number
  /** The probability that any child of the parent which is as different as one of the limits passes. */
  alpha: number
  /** How many children of the parent have been judged, with this one. Default: 1. */
  attempt?: number
  /** For numbers, which decide nothing: the distance above which a row counts as another decision. Default: 0.1. */
  tolerance?: number
  /** Where `epsilon` comes from, in a sentence. */
  basis?: string
}

export interface FidelityInput {
  /** The answers of both versions to the same rows. */
  parent: ModelAnswers
  child: ModelAnswers
  /**
   * Why a version refused rows, by their place; such a row has no valid answer. The report keeps these texts, so they hold no value of a
   * row that may be erased.
   */
  refusals?: Partial<Record<'parent' | 'child', ReadonlyMap<number, string>>>
  /** The parent's output, and its profile, whose range of answers is the unit of numbers. */
  version: Pick<Manifest, 'output' | 'profile'>
  /** The entity of each row, when an entity has several rows. */
  entities?: readonly (string | number)[]
  slices?: readonly RowSlice[]
  /** The ids of the predictions of the last rows, which are logged requests; the rows before them are test rows. */
  requests?: readonly string[]
  policy: FidelityPolicy
  /**
   * What is known of the transformation, without any row: the largest difference of each number of an answer, in its unit. A bound before a
   * logistic or softmax link holds after it, one before an exponential link does not.
   */
  certificate?: { bound: number }
}

/**
 * - `equal`: proven to answer like the parent.
 * - `not_equal`: proven to answer otherwise, over all or in a slice, or without answers of the right shape.
 * - `insufficient`: neither.
 */
export type FidelityVerdict = 'equal' | 'not_equal' | 'insufficient'

export interface FidelityPart {
  rows: number
  /** Draws: entities, or rows where each is an entity of its own. */
  entities: number
  /** The mean distance, 0..1, of a mean entity; null without rows. */
  meanDifference: number | null
  /** Rows with another decision. */
  flips: number
  /** Their share in a mean entity; null without rows. */
  flipShare: number | null
}

export interface FidelitySlice extends FidelityPart {
  name: string
  /** The log evidence, in nats, that the slice is beyond a limit. */
  evidence: number
  /** Whether it is, at the level of all slices together (e-BH). */
  refuted: boolean
}

export interface FidelityRow {
  /** The place of the row; among the test rows for one of them. */
  index: number
  /** The prediction, for a logged request. */
  request?: string
  parent: readonly number[]
  /** Empty without finite numbers. */
  child: readonly number[]
  /** The distance, 0..1. */
  difference: number
  isFlipped: boolean
  /** Why the child refuses the row, or why its answer is invalid. */
  refused?: string
}

/** Rows that a version refuses or answers with invalid numbers, and why the first of them. */
export interface RefusedRows {
  rows: number
  why: string
}

export interface FidelityReport extends FidelityPart {
  verdict: FidelityVerdict
  /** How many of the rows are logged requests; absent for none. */
  requests?: number
  /** Absent for none. Those of the parent are left out; those of the child are among the rows, with the largest distance. */
  refused?: Partial<Record<'parent' | 'child', RefusedRows>>
  /** Blocking ones first; the reason for an equal verdict otherwise. */
  reasons: Reason[]
  /** Findings that do not decide. */
  warnings: Reason[]
  /** The largest distance; null without rows. */
  maxDifference: number | null
  /** The log evidence, in nats, that the mean distance is below ε; null where the certificate proves it, and without rows. */
  differenceEvidence: number | null
  /** The same for the share of other decisions. */
  flipEvidence: number | null
  /** The smaller of both, which decides. */
  evidence: number | null
  /** ln(1/α) for the α of this attempt; null where nothing was tested. */
  threshold: number | null
  /** How many more rows like these would prove equality; absent where no number would, and where nothing is missing. */
  needed?: number
  /** The largest distance that the certificate allows. */
  certified?: number
  slices: FidelitySlice[]
  /** The ten rows with the largest distances, the largest first; rows with equal answers are left out. */
  worst: FidelityRow[]
  policy: FidelityPolicy
  judge: string
}

const fidelityJudge = 'fidelity@3'
const defaultTolerance = 0.1
/** The limits where none follows from a margin. */
const defaultEpsilon = 0.005
const defaultFlips = 0.01
const maxWorst = 10
/** The rounding of answers in 32 bits, which a certificate need not cover. */
const rounding = 1e-5

/**
 * The limits that follow from the margins of the gate, so that the primary metric cannot lose more than its margin where its loss is bounded
 * by the mean distance; 0.5 % where it is not, as for AUC or a metric of the model file. A flip changes whether at most one row is right, so
 * flips are bounded by the margin of accuracy: 1 % unless declared.
 * A margin that is relative to the parent's value gives none either, because that value is not known without labels.
 * @param parent its output and profile; for numbers the ranges that distances are divided by follow from them. A bound in numbers holds
 * while no distance exceeds its range
 */
export function defaultFidelity(
  policy: GatePolicy,
  { version }: { version?: FidelityInput['version'] } = {},
): FidelityPolicy {
  const { primary, confidence, margins } = policy
  const { mostPerDistance, classes } = gateOf(policy.task)
  const alpha = Number((1 - confidence).toPrecision(6))
  const flips = typeof margins.accuracy === 'number' && margins.accuracy > 0 ? margins.accuracy : defaultFlips
  const limits = { flips: classes(2) > 0 ? flips : defaultFlips, alpha }
  const otherwise = (why: string): FidelityPolicy => ({
    epsilon: defaultEpsilon,
    ...limits,
    basis: `${why}, so ε is ${percentText(defaultEpsilon)}`,
  })
  const name = metricName(primary)
  const factor = Object.hasOwn(policy.custom ?? {}, primary)
    ? undefined
    : mostPerDistance[primary as GateMetric]
  if (factor === undefined) return otherwise(`no bound of ${name} follows from the mean distance of answers`)
  const margin = margins[primary as GateMetric]
  if (typeof margin !== 'number' || !(margin > 0))
    return otherwise(`the margin of ${name} is 0 or relative to a value that only labels show`)
  const range = classes(2) > 0 ? 1 : Math.max(...(version ? scalesOf(version) : []), 0)
  if (!(range > 0))
    return otherwise(`${name} is in the unit of the label, and the range of answers is not known`)
  const epsilon = Math.min(0.5, margin / (factor * range))
  const most = factor * range === 1 ? '' : ` ${fourDigits(factor * range)} times`
  const basis = `${name} differs by at most${most} the mean distance of answers, so it cannot lose more than its margin ${fourDigits(margin)}`
  return { epsilon, ...limits, basis }
}

/**
 * The α at which the k-th child of a parent must be proven equal: three quarters of what the earlier ones have left, so that any of them
 * passes wrongly with a probability of at most α, whatever rows they share (Bonferroni). The first has most of it, because few parents are
 * compressed often. Refutations, which let no child pass, keep the whole α.
 */
export const levelOf = ({ alpha, attempt = 1 }: Pick<FidelityPolicy, 'alpha' | 'attempt'>): number =>
  Math.max(Number.MIN_VALUE, alpha * 0.75 * 0.25 ** (attempt - 1))

/** The issues of a policy, each beginning with its field; empty when it is valid. */
export function issuesOfFidelity(policy: FidelityPolicy): string[] {
  const { issues, need } = policyIssues()
  for (const field of ['epsilon', 'flips', 'alpha'] as const)
    need(
      policy[field] > 0 && policy[field] < 1,
      `${field}: a number above 0 and below 1 is required, not ${policy[field]}`,
    )
  const { tolerance = defaultTolerance, attempt = 1 } = policy
  need(
    Number.isSafeInteger(attempt) && attempt >= 1,
    `attempt: a whole number from 1 on is required, not ${attempt}`,
  )
  need(tolerance >= 0 && tolerance <= 1, `tolerance: a number from 0 to 1 is required, not ${tolerance}`)
  return issues
}

export function judgeFidelity(given: FidelityInput): FidelityReport {
  const { parent, policy, certificate, requests = [] } = given
  const slices = [...sourceSlices(given), ...(given.slices ?? [])]
  const input = { ...given, slices }
  const report: FidelityReport = {
    verdict: 'insufficient',
    reasons: [],
    warnings: [],
    rows: answeredRows(parent),
    ...(requests.length > 0 && { requests: requests.length }),
    entities: 0,
    meanDifference: null,
    maxDifference: null,
    flips: 0,
    flipShare: null,
    differenceEvidence: null,
    flipEvidence: null,
    evidence: null,
    threshold: null,
    slices: [],
    worst: [],
    policy,
    judge: fidelityJudge,
  }
  const refused = unreadable(input)
  if (refused !== undefined) return { ...report, ...refused }
  const compared = compareRows(input)
  if ('reason' in compared) return { ...report, reasons: [compared.reason] }
  const { parent: ofParent, child: ofChild } = compared.refused
  const testRows = report.rows - requests.length

  const threshold = thresholdFor(levelOf(policy))
  const all = draw(compared)
  const maxDifference = compared.distances.reduce((most, distance) => (distance > most ? distance : most), 0)
  const certified = certificate && compared.certifiedBy(certificate.bound)
  const measured = {
    ...report,
    threshold,
    ...partOf(all),
    ...(requests.length > 0 && {
      requests: requests.length - [...ofParent.keys()].filter((row) => row >= testRows).length,
    }),
    ...(ofParent.size + ofChild.size > 0 && {
      refused: { parent: refusedRows(ofParent), child: refusedRows(ofChild) },
    }),
    maxDifference,
    certified,
    worst: worstRows(input, compared),
    slices: judgeParts(slices, compared, policy),
    warnings: warningsOf(input, slices),
  }
  if (certified !== undefined && maxDifference > certified + rounding)
    return { ...measured, verdict: 'not_equal', reasons: [brokenReason(measured, certified)] }

  const isCertified = certified !== undefined && certified <= policy.epsilon
  const difference = isCertified ? null : meanBelow(policy.epsilon, certified)
  const flip = meanBelow(policy.flips)
  for (let i = 0; i < all.distances.length; i++) {
    difference?.add(certified === undefined ? all.distances[i]! : Math.min(certified, all.distances[i]!))
    flip.add(all.flipped[i]!)
  }
  const tests = difference === null ? [flip] : [difference, flip]
  const evidence = Math.min(...tests.map((test) => test.logE()))
  const tested = {
    ...measured,
    differenceEvidence: difference?.logE() ?? null,
    flipEvidence: flip.logE(),
    evidence,
  }
  const against = [
    ...(beyondEvidence(all, policy) >= thresholdFor(policy.alpha) ? [differsReason(tested)] : []),
    ...tested.slices.filter(({ refuted }) => refuted).map((slice) => sliceReason(slice, policy)),
  ]
  if (against.length > 0) return { ...tested, verdict: 'not_equal', reasons: against }
  if (evidence >= threshold) return { ...tested, verdict: 'equal', reasons: [equalReason(tested)] }
  const needed = neededRows(tests, threshold, measured)
  return { ...tested, needed, reasons: unprovenReasons({ ...tested, needed }) }
}

/**
 * Test rows and logged requests, where there are both: together they stand for what is served, and a child that differs in one of them alone
 * is refuted there.
 */
function sourceSlices({ parent, requests = [] }: FidelityInput): RowSlice[] {
  const testRows = answeredRows(parent) - requests.length
  if (requests.length === 0 || testRows <= 0) return []
  return [
    { name: 'test rows', rows: Array.from({ length: testRows }, (_, row) => row) },
    { name: 'logged requests', rows: requests.map((_, row) => testRows + row) },
  ]
}

/** Why nothing can be compared; undefined when it can. */
function unreadable(input: FidelityInput): { verdict: FidelityVerdict; reasons: Reason[] } | undefined {
  const { parent, child, version, entities, policy, certificate } = input
  const { gate, facts } = taskOf(version.output)
  const rows = answeredRows(parent)
  const because = (verdict: FidelityVerdict, code: string, message: string) => ({
    verdict,
    reasons: [{ code, message, values: { rows } }],
  })
  const issues = issuesOfFidelity(policy)
  if (issues.length > 0) return because('insufficient', 'policy_invalid', issues.join('; '))
  if (certificate !== undefined && !(certificate.bound >= 0))
    return because(
      'insufficient',
      'certificate_unreadable',
      `certificate.bound: a number of at least 0 is required, not ${certificate.bound}`,
    )
  if (rows === 0) return because('insufficient', 'no_rows', 'there are no rows that both versions answered')
  for (const [who, answers] of Object.entries({ parent, child })) {
    const [count, width] = [answeredRows(answers), widthOf(answers, version.output)]
    const issue =
      count === rows
        ? (gate.widthIssue(width) ?? gate.misfit(width, facts(version.output), outputWidth(version.output)))
        : `${count} answers for ${rows} rows`
    if (issue !== undefined)
      return because(
        who === 'child' ? 'not_equal' : 'insufficient',
        `${who}_unreadable`,
        `answers of the ${who}: ${issue}`,
      )
  }
  if (entities !== undefined && entities.length !== rows)
    return because('insufficient', 'entities_unreadable', `${entities.length} entities for ${rows} rows`)
  return undefined
}

/** What the distance of each number of an answer is divided by; 0 where it is not known. */
function scalesOf({ output, profile }: FidelityInput['version']): number[] {
  const ranges = scalesOfNumbers(output, profile)
  // Quantiles share the range of their middle one.
  return Array.from({ length: outputWidth(output) }, (_, k) =>
    ranges.length === 1 ? ranges[0]! : (ranges[k] ?? 0),
  )
}

/** Numbers of an answer; the first row may be refused. */
const widthOf = (answers: ModelAnswers, output: Output): number => answerWidth(answers) || outputWidth(output)

/** Why a replica would fail a request for such an answer; undefined for a valid one. */
function compileIssue(output: Output, width: number): (answer: readonly number[]) => string | undefined {
  const { gate, range } = taskOf(output)
  const limits = range(output)
  const { min, max } = answerLimits(limits)
  const sumsToOne = width > 1 && gate.classes(width) > 0
  return (answer) => {
    if (answer.length !== width) return `the answer has ${counted(answer.length, 'number')} of ${width}`
    if (!answer.every(Number.isFinite)) return 'the answer is not finite'
    if (answer.some((value) => value < min || value > max))
      return `the answer is outside of ${limitsText(limits) || '32 bits'}`
    const isWhole = !sumsToOne || Math.abs(sumOf(answer) - 1) <= sumTolerance
    return isWhole ? undefined : 'the probabilities of the answer do not sum to 1'
  }
}

const sumTolerance = 1e-3

const refusedRows = (refused: ReadonlyMap<number, string>): RefusedRows | undefined => {
  const [why] = refused.values()
  return why === undefined ? undefined : { rows: refused.size, why }
}

interface Compared {
  /** NaN for a row that the parent refuses. */
  distances: Float64Array
  flipped: Uint8Array
  /** The draw that each row belongs to. */
  draws: Uint32Array
  /** The number of draws. */
  entities: number
  /** Why each row is refused. */
  refused: Record<'parent' | 'child', Map<number, string>>
  /** The largest distance that a bound of each number allows; undefined where the range of a number is not known. */
  certifiedBy: (bound: number) => number | undefined
}

function compareRows({
  parent,
  child,
  version,
  entities,
  policy,
  refusals = {},
}: FidelityInput): Compared | { reason: Reason } {
  const { output } = version
  const { decides, distanceUnit, gate } = taskOf(output)
  const rows = answeredRows(parent)
  const scales = decides ? [] : scalesOf(version)
  const { tolerance = defaultTolerance } = policy
  const distanceOf = (differences: readonly number[]): number =>
    decides ? Math.min(1, sumOf(differences) / distanceUnit(output)) : (scaledLoss(differences, scales) ?? 0)
  const [parentAt, childAt] = [answerReader(parent), answerReader(child)]
  const [distances, flipped] = [new Float64Array(rows), new Uint8Array(rows)]
  const issueOf = {
    parent: compileIssue(output, widthOf(parent, output)),
    child: compileIssue(output, widthOf(child, output)),
  }
  const refused: Compared['refused'] = { parent: new Map(), child: new Map() }
  const isRefused = (who: 'parent' | 'child', row: number, answer: readonly number[]): boolean => {
    const why = refusals[who]?.get(row) ?? issueOf[who](answer)
    if (why !== undefined) refused[who].set(row, why)
    return why !== undefined
  }
  // One or two columns may hold a probability.
  const width = [gate.forMetric(parentAt(0))].flat().length
  const [one, other, differences] = [0, 0, 0].map(() => Array.from({ length: width }, () => 0)) as [
    number[],
    number[],
    number[],
  ]
  const read = (answer: readonly number[], into: number[]) => {
    const given = gate.forMetric(answer)
    for (let k = 0; k < width; k++) into[k] = typeof given === 'number' ? given : given[k]!
  }
  for (let row = 0; row < rows; row++) {
    if (isRefused('parent', row, parentAt(row))) {
      distances[row] = NaN
      continue
    }
    if (isRefused('child', row, childAt(row))) {
      distances[row] = flipped[row] = 1
      continue
    }
    read(parentAt(row), one)
    read(childAt(row), other)
    for (let k = 0; k < width; k++) differences[k] = Math.abs(one[k]! - other[k]!)
    const at = decides ? -1 : differences.findIndex((difference, k) => difference > 0 && !(scales[k]! > 0))
    if (at >= 0)
      return {
        reason: {
          code: 'no_scale',
          message: `the answers to row ${row} differ by ${fourDigits(differences[at]!)}, and nothing says whether that is much: the parent's answers have no range between the 10th and the 90th percentile in training; set min and max of the label`,
          values: { row, number: at, difference: differences[at]! },
        },
      }
    const distance = distanceOf(differences)
    distances[row] = distance
    flipped[row] = Number(
      decides ? decides.of(output, one) !== decides.of(output, other) : distance > tolerance,
    )
  }
  if (refused.parent.size === rows)
    return {
      reason: {
        code: 'parent_unreadable',
        message: `answers of the parent: none of ${counted(rows, 'row')} is valid: ${refused.parent.get(0)!}`,
        values: { rows },
      },
    }
  const isScaled = decides !== undefined || scales.every((scale) => scale > 0)
  return {
    distances,
    flipped,
    refused,
    ...drawsOf(rows, entities),
    certifiedBy: (bound) => (isScaled ? distanceOf(Array.from({ length: width }, () => bound)) : undefined),
  }
}

function drawsOf(rows: number, entities: FidelityInput['entities']): Pick<Compared, 'draws' | 'entities'> {
  if (entities === undefined)
    return { draws: Uint32Array.from({ length: rows }, (_, row) => row), entities: rows }
  const places = new Map<string | number, number>()
  const draws = Uint32Array.from(entities, (entity) => {
    const place = places.get(entity) ?? places.size
    places.set(entity, place)
    return place
  })
  return { draws, entities: places.size }
}

/** One mean for each entity with rows. */
interface Draws {
  rows: number
  flips: number
  distances: Float64Array
  flipped: Float64Array
}

function draw({ distances, flipped, draws, entities }: Compared, members?: Uint32Array): Draws {
  const [rows, sums, flips] = [0, 0, 0].map(() => new Float64Array(entities)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ]
  const count = members?.length ?? distances.length
  for (let i = 0; i < count; i++) {
    const row = members?.[i] ?? i
    if (Number.isNaN(distances[row])) continue
    const at = draws[row]!
    rows[at]!++
    sums[at]! += distances[row]!
    flips[at]! += flipped[row]!
  }
  const present = (values: Float64Array) =>
    values.map((value, at) => value / rows[at]!).filter((_, at) => rows[at]! > 0)
  return { rows: sumOf(rows), flips: sumOf(flips), distances: present(sums), flipped: present(flips) }
}

const partOf = ({ rows, flips, distances, flipped }: Draws): FidelityPart => ({
  rows,
  entities: distances.length,
  meanDifference: distances.length === 0 ? null : sumOf(distances) / distances.length,
  flips,
  flipShare: distances.length === 0 ? null : sumOf(flipped) / flipped.length,
})

/** The log evidence that one of the limits is exceeded; the mean of two e-values is an e-value. */
function beyondEvidence({ distances, flipped }: Draws, { epsilon, flips }: FidelityPolicy): number {
  const [difference, flip] = [meanAbove(epsilon), meanAbove(flips)]
  for (let i = 0; i < distances.length; i++) {
    difference.add(distances[i]!)
    flip.add(flipped[i]!)
  }
  return logMeanExp([difference.logE(), flip.logE()])
}

function judgeParts(
  slices: readonly RowSlice[],
  compared: Compared,
  policy: FidelityPolicy,
): FidelitySlice[] {
  const parts = slices.map((slice) => draw(compared, membersOf(slice, compared.distances.length)))
  const evidence = parts.map((part) => beyondEvidence(part, policy))
  const refuted = eBenjaminiHochberg(evidence, policy.alpha)
  return parts.map((part, i) => ({
    name: slices[i]!.name,
    ...partOf(part),
    evidence: evidence[i]!,
    refuted: refuted[i]!,
  }))
}

function worstRows(
  { parent, child, requests = [] }: FidelityInput,
  { distances, flipped, refused }: Compared,
): FidelityRow[] {
  const [parentAt, childAt] = [answerReader(parent), answerReader(child)]
  const worst: number[] = []
  for (let row = 0; row < distances.length; row++) {
    const distance = distances[row]!
    if (!(distance > 0) || (worst.length === maxWorst && distance <= distances[worst.at(-1)!]!)) continue
    const place = worst.findIndex((each) => distances[each]! < distance)
    worst.splice(place < 0 ? worst.length : place, 0, row)
    worst.length = Math.min(worst.length, maxWorst)
  }
  const testRows = distances.length - requests.length
  return worst.map((index) => {
    const why = refused.child.get(index)
    const answer = [...childAt(index)]
    return {
      index,
      ...(index >= testRows && { request: requests[index - testRows]! }),
      parent: [...parentAt(index)],
      child: answer.every(Number.isFinite) ? answer : [],
      difference: distances[index]!,
      isFlipped: flipped[index] === 1,
      ...(why !== undefined && { refused: why }),
    }
  })
}

/** How many more rows like these bring each test to the threshold; undefined where one would never reach it. */
function neededRows(
  tests: readonly MeanTest[],
  threshold: number,
  { rows, entities }: FidelityPart,
): number | undefined {
  const isProven = (draws: number) => tests.every((test) => test.logE(draws / entities) >= threshold)
  let [few, enough] = [entities, entities * 2]
  // The evidence is convex in the number of draws, so a test that has not risen by then never does.
  while (!isProven(enough)) {
    few = enough
    enough *= 2
    if (enough > 1e12) return undefined
  }
  while (enough - few > 1) {
    const middle = Math.floor((few + enough) / 2)
    if (isProven(middle)) enough = middle
    else few = middle
  }
  return Math.ceil(((enough - entities) * rows) / entities)
}

// Reasons.

/** `2,400 test rows and 3,000 logged requests`. */
export const rowsText = ({ rows, requests = 0 }: Pick<FidelityReport, 'rows' | 'requests'>): string =>
  [
    ...(rows > requests || requests === 0 ? [counted(rows - requests, 'test row')] : []),
    ...(requests > 0 ? [counted(requests, 'logged request')] : []),
  ].join(' and ')

const entitiesText = (part: FidelityPart & { requests?: number }): string => {
  const { rows, entities, requests } = part
  const named = requests === undefined ? counted(rows, 'row') : rowsText(part)
  return rows === entities
    ? named
    : `${named}, of ${entities === 1 ? '1 entity' : `${groupedDigits(entities)} entities`} together`
}

const figuresText = (part: FidelityPart, { epsilon, flips }: FidelityPolicy): string =>
  `mean distance ${percentText(part.meanDifference)} (limit ${percentText(epsilon)}), other decisions ${percentText(part.flipShare)} (limit ${percentText(flips)}) in ${entitiesText(part)}`

/** `; 2 rows that the parent answers are refused: …`. */
function refusedText({ refused }: Pick<FidelityReport, 'refused'>): string {
  const { rows = 0, why } = refused?.child ?? {}
  return rows === 0
    ? ''
    : `; ${counted(rows, 'row')} that the parent answers ${rows === 1 ? 'is' : 'are'} refused, which counts as the largest distance and another decision: ${why}`
}

const figuresOf = (
  { rows, entities, meanDifference, flips, flipShare }: FidelityPart,
  { epsilon, flips: flipLimit }: FidelityPolicy,
): Reason['values'] => ({ rows, entities, meanDifference, epsilon, flips, flipShare, flipLimit })

function differsReason(report: FidelityReport): Reason {
  const message = `the answers differ from the parent's: ${figuresText(report, report.policy)}${refusedText(report)}`
  return { code: 'differs', message, values: figuresOf(report, report.policy) }
}

function sliceReason(slice: FidelitySlice, policy: FidelityPolicy): Reason {
  const message = `the answers differ from the parent's in the slice "${slice.name}": ${figuresText(slice, policy)}, logE ${fourDigits(slice.evidence)}`
  return {
    code: 'slice_differs',
    message,
    values: { slice: slice.name, ...figuresOf(slice, policy), evidence: slice.evidence },
  }
}

function brokenReason({ worst: [row], maxDifference }: FidelityReport, certified: number): Reason {
  const named = row?.request === undefined ? `row ${row?.index}` : `request ${row.request}`
  const what =
    row?.refused === undefined
      ? `the answers to ${named} have the distance ${fourDigits(maxDifference)}`
      : `${named} is refused (${row.refused})`
  const message = `${what}, and the transformation allows ${fourDigits(certified)}: the transformation or its bound is wrong`
  return { code: 'certificate_broken', message, values: { maxDifference, certified } }
}

function equalReason(report: FidelityReport): Reason {
  const { policy, maxDifference, certified, differenceEvidence, evidence, threshold } = report
  const same = maxDifference === 0 ? `all ${counted(report.rows, 'answer')} are the same; ` : ''
  const bound =
    differenceEvidence === null ? `no distance exceeds ${fourDigits(certified!)} by construction; ` : ''
  const message = `${same}${bound}${figuresText(report, policy)}: logE ${fourDigits(evidence)} ≥ ${fourDigits(threshold)}${refusedText(report)}`
  return { code: 'equal', message, values: { ...figuresOf(report, policy), evidence, threshold } }
}

function unprovenReasons(report: FidelityReport): Reason[] {
  const { policy, entities, rows, maxDifference, evidence, threshold, needed } = report
  const same =
    maxDifference === 0
      ? `all ${counted(rows, 'answer')} are the same, and too few to prove it for others; `
      : ''
  const more =
    needed === undefined
      ? 'no number of rows like these proves equality'
      : `${counted(needed, 'more row')} like these would prove equality`
  const message = `${same}${figuresText(report, policy)}: logE ${fourDigits(evidence)} < ${fourDigits(threshold)}; ${more}${refusedText(report)}`
  const values = { ...figuresOf(report, policy), evidence, threshold, needed: needed ?? null }
  const single = `all ${counted(rows, 'row')} are of one entity, and count as one: give rows of more entities`
  return [
    { code: 'unproven', message, values },
    ...(entities === 1 && rows > 1 ? [{ code: 'one_entity', message: single, values: { rows } }] : []),
  ]
}

function warningsOf({ parent }: FidelityInput, slices: readonly RowSlice[]): Reason[] {
  const rows = answeredRows(parent)
  const rowAt = answerReader(parent)
  const first = [...rowAt(0)]
  let isConstant = rows > 1
  for (let row = 1; row < rows && isConstant; row++)
    isConstant = rowAt(row).every((value, k) => value === first[k])
  const constant = `the parent gives all ${counted(rows, 'row')} the same answer, so they show little of how a version differs`
  return [
    ...(isConstant ? [{ code: 'constant_answers', message: constant, values: { rows } }] : []),
    ...slices
      .filter((slice) => membersOf(slice, rows).length === 0)
      .map(({ name }) => ({
        code: 'slice_missing',
        message: `slice "${name}" has no rows, so nothing is known of it`,
        values: { slice: name },
      })),
  ]
}
