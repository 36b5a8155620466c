/**
 * Numbers versions `name_vMAJOR.MINOR.PATCH`: MAJOR for an incompatible schema, MINOR for other data, code or hyperparameters, PATCH
 * for a repetition.
 */
import { maxBytesOf, maxLengthOf, type Feature, type Features } from '../model/features.ts'
import type { BundleOrigin } from '../model/bundle-origin.ts'
import type { ForeignOrigin } from '../model/manifest.ts'
import { compressOptions, type CompressionFacts } from '../model/compression.ts'
import type { RefitLineage } from '../training/refit.ts'
import type { Output } from '../tasks/output.ts'
import { taskOf } from '../tasks/tasks.ts'

export interface VersionNumber {
  major: number
  minor: number
  patch: number
}

/** The provenance of a version: everything needed to reproduce it, and who requested it and why. */
export interface VersionLineage {
  snapshot: string
  asOf: string
  code: string
  dependencies: string
  hyperparameters: Record<string, number | string | boolean>
  /** The hyperparameters that the request set instead of the model file's. */
  overrides?: Record<string, number | string | boolean>
  /** Unknown for a brought artifact. */
  seed?: number
  /** Metric → value on the frozen test rows. */
  metrics: Record<string, number | null>
  rows: { train?: number; test: number }
  /** ISO 8601: when the newest training event happened. Absent without event times. */
  newestEvent?: string
  /** The weights were trained again on all matured rows after the gate. `snapshot`, `rows` and `newestEvent` are those of the judged ones. */
  refit?: RefitLineage
  /** One sentence for each flood whose rows were left out; absent without floods. */
  floods?: string[]
  validationId: string
  trainingId: string
  evaluationId: string
  retrainingId: string
  /** The champion that the version was evaluated against. */
  baseline?: string
  requestedBy: string
  /** What started the training: schedule, manual, drift, quality or labels. */
  reason: string
  /** Absent: trained here by the model file. Otherwise data and code are unknown; `snapshot` holds the rows of its evaluation. */
  origin?: ForeignOrigin
  /** For a brought artifact, what the user states about its data; for served rows, which predictions they came from. */
  trainedOn?: string
  /** What the source installation states about it, for an imported bundle. */
  bundle?: BundleOrigin
  /** The parent, and how the version was made of it. Code, hyperparameters and training rows are those of the parent. */
  compression?: CompressionFacts
  /** The reason that the requester gave. */
  note?: string
  /** The gate refused it, and an admin registered it all the same: `requestedBy`, with `note` as the reason. */
  breakGlass?: BreakGlassLineage
}

/** The evidence that the order was bound to, by its digests. */
export interface BreakGlassLineage {
  /** The retraining whose challenger was refused. */
  retraining: string
  artifact: string
  evaluation: string
}

/** Whether a version was registered by break-glass, for this artifact and this report. */
export const isByBreakGlass = (
  { breakGlass }: Pick<Partial<VersionLineage>, 'breakGlass'>,
  { artifact, evaluation }: { artifact: string; evaluation: string },
): boolean => breakGlass?.artifact === artifact && breakGlass.evaluation === evaluation

/** The facts that decide the number. */
export interface Numbered {
  features: Features
  /** The feature order of rows without names. */
  order: readonly string[]
  output: Output
  snapshot: string
  code: string
  hyperparameters: Record<string, number | string | boolean>
}

export const formatVersion = (model: string, { major, minor, patch }: VersionNumber): string =>
  `${model}_v${major}.${minor}.${patch}`

/** The command that makes another version in the way in which this one was made. */
export const commandOfAnother = (
  model: string,
  { compression, origin }: Pick<Partial<VersionLineage>, 'compression' | 'origin'>,
): string =>
  compression !== undefined
    ? `tenure compress ${model}@champion ${compressOptions(compression)}`
    : origin === 'brought'
      ? `tenure versions register ${model} --artifact FILE`
      : `tenure retrain ${model}`

/** The model of a version, by the version's name; undefined for another name. */
export const modelOfVersion = (name: string): string | undefined => /^(.+)_v\d+\.\d+\.\d+$/.exec(name)?.[1]

/**
 * MAJOR increases when requests or responses become incompatible, MINOR when the data, the code or the hyperparameters change, PATCH
 * otherwise: another seed, other dependencies, or a repeated training.
 */
export function nextVersion(
  previous: { number: VersionNumber; of: Numbered } | undefined,
  candidate: Numbered,
): VersionNumber {
  if (previous === undefined) return { major: 1, minor: 0, patch: 0 }
  const { major, minor, patch } = previous.number
  if (
    !requestsStillFit(previous.of.features, candidate.features) ||
    isOtherOrder(previous.of.order, candidate.order) ||
    formOf(previous.of.output) !== formOf(candidate.output)
  )
    return { major: major + 1, minor: 0, patch: 0 }
  if (
    previous.of.snapshot !== candidate.snapshot ||
    previous.of.code !== candidate.code ||
    !sameParameters(previous.of.hyperparameters, candidate.hyperparameters)
  )
    return { major, minor: minor + 1, patch: 0 }
  return { major, minor, patch: patch + 1 }
}

/**
 * The given number, or the next one above the highest number that was used before the database was restored, because a name must mean one
 * version only.
 */
export function aboveGiven(number: VersionNumber, given: VersionNumber | undefined): VersionNumber {
  if (given === undefined) return number
  const order = number.major - given.major || number.minor - given.minor || number.patch - given.patch
  return order > 0 ? number : { major: given.major, minor: given.minor + 1, patch: 0 }
}

/**
 * Whether every valid request stays valid: a new feature may be missing, a dropped one is ignored, and each other one accepts at least the
 * same values.
 */
export function requestsStillFit(before: Features, after: Features): boolean {
  return Object.entries(after).every(([name, now]) => {
    const old = before[name]
    // What a request sends for a computed column is ignored.
    if (now.sql !== undefined) return true
    if (old === undefined) return mayBeAbsent(now)
    if (old.kind !== now.kind) return false
    if (old.missing === 'fill' && now.missing !== 'fill') return false
    if (mayBeAbsent(old) && !mayBeAbsent(now)) return false
    if (old.kind === 'text' && now.kind === 'text') return maxLengthOf(old) <= maxLengthOf(now)
    if (old.kind === 'vector' && now.kind === 'vector') return old.length === now.length
    if (old.kind === 'image' && now.kind === 'image') return maxBytesOf(old) <= maxBytesOf(now)
    if (old.kind !== 'category' || now.kind !== 'category' || now.values === undefined) return true
    const allowed = new Set(now.values)
    return old.values !== undefined && old.values.every((value) => allowed.has(value))
  })
}

/** Whether a request may lack the feature: it is filled, computed, or has a value that stands in where the looked-up one is missing. */
export const mayBeAbsent = ({ missing, from, sql }: Feature): boolean =>
  missing === 'fill' || from !== undefined || sql !== undefined

/** The form of the output that callers rely on; the threshold is not part of it. */
export const formOf = (output: Output): string =>
  JSON.stringify([output.kind, ...taskOf(output).form(output)])

/** Rows without feature names would get another meaning. */
const isOtherOrder = (before: Numbered['order'], after: Numbered['order']): boolean =>
  before.join('\n') !== after.join('\n')

function sameParameters(before: Numbered['hyperparameters'], after: Numbered['hyperparameters']): boolean {
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].every((name) => before[name] === after[name])
}
