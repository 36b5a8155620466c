/**
 * Fixes the bins in which the answers of two versions are compared: the decisions, the classes, or the ranges between the champion's
 * 10th, 50th and 90th percentile, for each number. The champion fixes them, so that a candidate cannot choose its own bins.
 */
import {
  answerProfiles,
  edgeNear,
  nextSingle,
  type NumberProfile,
  type ReferenceProfile,
} from '../model/reference-profile.ts'
import type { OutputKind } from './output.ts'

export interface AnswerBins {
  kind: OutputKind
  /** One name per bin. */
  names: string[]
  /** In how many bins one answer is counted: one, or one per number. */
  perAnswer: number
  /** For numbers: the upper edges of all bins except the last, one list per number; the name when an answer has several numbers. */
  numbers: { name?: string; edges: number[] }[]
}

/** Counts an answer in its bins. */
export type AnswerCounter = (counts: number[], outputs: Float32Array, row: number) => void

/** When there are more classes, the rest share the last bin. */
export const maxBins = 64
/** When there are more numbers, only the first ones are compared, in four bins each. */
const maxNumbers = maxBins / 4

/** The bins of numbers, which `names` names when an answer has several; undefined without a profile of their scores. */
export function numberBins(
  names: readonly string[],
  profile: Pick<ReferenceProfile, 'score' | 'scores'> | undefined,
): Omit<AnswerBins, 'kind'> | undefined {
  const numbers = answerProfiles(profile)
    .slice(0, maxNumbers)
    .map((score, at) => ({
      ...(names.length > 0 && { name: names[at]! }),
      edges: score.kind === 'number' ? comparedEdges(score) : [],
    }))
  if (numbers.length === 0 || numbers.some(({ edges }) => edges.length === 0)) return undefined
  const bins = numbers.flatMap(({ name, edges }) =>
    [
      `below ${edges[0]}`,
      ...edges.map((edge, i) => {
        const before = edges[i - 1]
        return before !== undefined && edge === nextSingle(before) ? `above ${before}` : `from ${edge}`
      }),
    ].map((range) => (name === undefined ? range : `${name} ${range}`)),
  )
  return { names: bins, perAnswer: numbers.length, numbers }
}

/** Where percentiles are equal, a further edge keeps larger numbers apart from the last one. */
function comparedEdges(profile: NumberProfile): number[] {
  const deciles = [0.1, 0.5, 0.9].flatMap((share) => edgeNear(profile, share) ?? [])
  const edges = [...new Set(deciles.map(Math.fround))]
  const above = nextSingle(edges.at(-1) ?? NaN)
  return edges.length < 3 && profile.edges.includes(above) ? [...edges, above] : edges
}

/** `placeOf`: the place of a number in an answer of `width` numbers, negative without it. Undefined without any of the numbers. */
export function numberCounter(
  { numbers }: AnswerBins,
  width: number,
  placeOf: (name: string | undefined) => number,
): AnswerCounter | undefined {
  let first = 0
  const compared = numbers.flatMap(({ name, edges }) => {
    const from = first
    first += edges.length + 1
    const place = placeOf(name)
    return place < 0 ? [] : [{ from, edges, place }]
  })
  if (compared.length === 0) return undefined
  return (counts, outputs, row) => {
    for (let i = 0; i < compared.length; i++) {
      const { from, edges, place } = compared[i]!
      const value = outputs[row * width + place]!
      let bin = 0
      while (bin < edges.length && value >= edges[bin]!) bin++
      counts[from + bin]!++
    }
  }
}
