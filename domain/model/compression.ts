/**
 * Defines a version that is derived from another one, its parent, and must answer like it: the file of the parent made smaller, or a small
 * network that has learnt its answers.
 */
import {
  type ArtifactFormatName,
  compressionsOf,
  fileCompressions,
  formatNameOf,
  isCode,
  isRemote,
} from '@tenure/predictors/format-names'
import { counted } from '../figures.ts'
import type { TaughtRequests } from '../training/logged-requests.ts'
import { modelFeatures, type Features } from './features.ts'

/** How a file is made smaller, or `distil`: a small network learns the answers of the parent, of whatever format it is. */
export const compressionMethods = [...fileCompressions, 'distil'] as const
export type CompressionMethod = (typeof compressionMethods)[number]

/** How a version is to be made smaller. */
export interface CompressionWish {
  to: CompressionMethod
  /** For `fewer-trees`: how many stay. Default: the fewest whose answers to training rows differ by half of ε on average. */
  trees?: number
  /** The mean distance of two answers that is too large, above 0 and below 1. Default: what follows from the margin of the primary metric. */
  epsilon?: number
  /** How many times smaller or faster the version must be. Default: `defaultTimes`. */
  times?: number
}

/** What a user asks for. */
export interface Compression extends CompressionWish {
  /** The parent. */
  version: string
}

/** What is asked for, with the artifact of the parent at that time. */
export interface CompressionOrder extends Compression {
  /** The digest of the parent's artifact. */
  artifact: string
}

/** What became of it, stored in the manifest of the version. */
export interface CompressionFacts extends CompressionOrder {
  /** Absent where the parent is code or an endpoint, whose own file says nothing of what it needs. */
  bytes?: BesideParent
  /** For `distil`: how many training rows the parent has answered for it. */
  taughtRows?: number
  /** For `distil`: the logged requests that it has learnt from beside them. */
  taughtRequests?: TaughtRequests
  /** How many both have of each part, such as trees and leaves. */
  counts: Readonly<Record<string, BesideParent>>
  /** No score before the link function differs by more from the parent's; absent where nothing bounds it. */
  rawBound?: number
  /** No number of an answer differs by more from the parent's; absent where nothing bounds it, as where the link function has no bounded slope. */
  answerBound?: number
}

export interface BesideParent {
  parent: number
  child: number
}

export const defaultTimes = 1.2
export const timesLimits = { min: 1, max: 100 }

/** Why a version cannot be compressed in this way; undefined when it can. The file itself is checked when it is read. */
export function issueOfParent({
  artifact,
  files,
  features,
  drill,
  to,
}: {
  artifact?: ArtifactFormatName
  files: Readonly<Record<string, unknown>>
  features: Features
  drill?: unknown
  to: CompressionMethod
}): string | undefined {
  if (drill !== undefined) return 'it is the version of a drill'
  const other = Object.entries(modelFeatures(features)).find(([, { kind }]) => !learnt.includes(kind))
  if (to === 'distil')
    return (
      other &&
      `its feature ${other[0]} is of the kind ${other[1].kind}, and a small network learns from numbers and categories alone`
    )
  const ways: readonly CompressionMethod[] = compressionsOf({ artifact, files })
  if (ways.includes(to)) return undefined
  const taken = other === undefined ? [...ways, 'distil'] : ways
  return `its artifact is ${formatNameOf({ artifact })} (${Object.keys(files).join(', ')}), which can be compressed to ${taken.length === 0 ? 'nothing' : taken.join(', ')}`
}

const learnt: readonly string[] = ['number', 'category']

/** The fewest rows by which a network learns the answers of its parent. */
export const minTaughtRows = 500
/**
 * The most rows that a parent is asked, to teach a network and to be compared with it: they are held in memory, and each answer of an
 * endpoint may cost money.
 */
export const maxAskedRows = (parent: { artifact?: ArtifactFormatName }): number =>
  isRemote(parent) ? 20_000 : 100_000
/**
 * The most logged requests that a network learns from, also where the parent is an endpoint: their answers are in the log. They are held in
 * memory with the training rows, and more teach a network of this size hardly anything new.
 */
export const maxTaughtRequests = 100_000

/** `1,200 training rows and 620 logged requests`. */
export const taughtText = ({
  taughtRows = 0,
  taughtRequests,
}: Pick<CompressionFacts, 'taughtRows' | 'taughtRequests'>): string =>
  [
    counted(taughtRows, 'training row'),
    ...(taughtRequests === undefined || taughtRequests.taught === 0
      ? []
      : [counted(taughtRequests.taught, 'logged request')]),
  ].join(' and ')

/** Whether the bytes of a version can be compared with those of another one: the file of code or of an endpoint is not what answers. */
export const hasComparableBytes = (parent: { artifact?: ArtifactFormatName }): boolean =>
  !isCode(parent) && !isRemote(parent)

/** A wish as options of `tenure compress`: `--to int8 --epsilon 0.01`. */
export const compressOptions = ({ to, trees, epsilon, times }: CompressionWish): string =>
  Object.entries({ to, keep: trees, epsilon, times })
    .flatMap(([option, value]) => (value === undefined ? [] : [`--${option} ${value}`]))
    .join(' ')

const digestPattern = /^sha256:[0-9a-f]{64}$/

/** Why a value is not what a compression is asked for with; undefined when it is. */
export function issueOfCompression(given: unknown): string | undefined {
  if (typeof given !== 'object' || given === null) return 'must be an object as "compression"'
  const { version, artifact } = given as Partial<CompressionOrder>
  if (typeof version !== 'string' || version.length > 200) return 'must have the "version" that is compressed'
  if (typeof artifact !== 'string' || !digestPattern.test(artifact))
    return 'must have the digest of its artifact'
  return issueOfWish(given)
}

/** Why a version cannot be made smaller as it is wished; undefined when it can. */
export function issueOfWish({ to, trees, epsilon, times }: Partial<CompressionWish>): string | undefined {
  if (!compressionMethods.some((each) => each === to))
    return `must have one of ${compressionMethods.join(', ')} as "to"`
  if (trees !== undefined && (to !== 'fewer-trees' || !Number.isSafeInteger(trees) || trees < 1))
    return 'may have a whole number of trees, from 1 on, to fewer-trees alone'
  if (epsilon !== undefined && !(Number(epsilon) > 0 && Number(epsilon) < 1))
    return 'must have a number above 0 and below 1 as "epsilon"'
  if (times !== undefined && !(Number(times) > timesLimits.min && Number(times) <= timesLimits.max))
    return `must have a number above ${timesLimits.min} and at most ${timesLimits.max} as "times"`
  return undefined
}
