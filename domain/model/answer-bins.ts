/**
 * Fixes the bins in which the answers of two versions are compared: the decisions, the classes, or the ranges between the champion's
 * 10th, 50th and 90th percentile, for each number. The champion fixes them, so that a candidate cannot choose its own bins.
 */
import { scorePlace } from './quantile-levels.ts'
import { decisionText, outputWidth, type Output } from './features.ts'
import {
  answerProfiles,
  edgeNear,
  nextSingle,
  type NumberProfile,
  type ReferenceProfile,
} from './reference-profile.ts'

export interface AnswerBins {
  kind: Output['kind']
  /** One name per bin. */
  names: string[]
  /** In how many bins one answer is counted: one, or one per number. */
  perAnswer: number
  /** For numbers: the upper edges of all bins except the last, one list per number; the name when an answer has several numbers. */
  numbers: { name?: string; edges: number[] }[]
}

/** When there are more classes, the rest share the last bin. */
const maxBins = 64
/** When there are more numbers, only the first ones are compared, in four bins each. */
const maxNumbers = maxBins / 4

/** The bins of a champion's answers; undefined for numbers without a profile of their scores. */
export function answerBins(
  output: Output,
  profile?: Pick<ReferenceProfile, 'score' | 'scores'>,
): AnswerBins | undefined {
  switch (output.kind) {
    case 'probability':
      return {
        kind: output.kind,
        names: [decisionText(output, false), decisionText(output, true)],
        perAnswer: 1,
        numbers: [],
      }
    case 'classes': {
      const { classes } = output
      const names = classes.length <= maxBins ? [...classes] : [...classes.slice(0, maxBins - 1), 'other']
      return { kind: output.kind, names, perAnswer: 1, numbers: [] }
    }
    case 'number':
    case 'numbers':
    case 'quantiles': {
      const numbers = answerProfiles(profile)
        .slice(0, maxNumbers)
        .map((score, at) => ({
          ...(output.kind === 'numbers' && { name: output.names[at] }),
          edges: score.kind === 'number' ? comparedEdges(score) : [],
        }))
      if (numbers.length === 0 || numbers.some(({ edges }) => edges.length === 0)) return undefined
      const names = numbers.flatMap(({ name, edges }) =>
        [
          `below ${edges[0]}`,
          ...edges.map((edge, i) => {
            const before = edges[i - 1]
            return before !== undefined && edge === nextSingle(before) ? `above ${before}` : `from ${edge}`
          }),
        ].map((range) => (name === undefined ? range : `${name} ${range}`)),
      )
      return { kind: output.kind, names, perAnswer: numbers.length, numbers }
    }
  }
}

/** Where percentiles are equal, a further edge keeps larger numbers apart from the last one. */
function comparedEdges(profile: NumberProfile): number[] {
  const deciles = [0.1, 0.5, 0.9].flatMap((share) => edgeNear(profile, share) ?? [])
  const edges = [...new Set(deciles.map(Math.fround))]
  const above = nextSingle(edges.at(-1) ?? NaN)
  return edges.length < 3 && profile.edges.includes(above) ? [...edges, above] : edges
}

/** Counts an answer in its bins. */
export type AnswerCounter = (counts: number[], outputs: Float32Array, row: number) => void

/** A counter for the outputs of a version; undefined for another kind of output, or without any of the numbers. */
export function answerCounter(
  { kind, names, numbers }: AnswerBins,
  output: Output,
): AnswerCounter | undefined {
  if (output.kind !== kind) return undefined
  switch (output.kind) {
    case 'probability': {
      const { threshold } = output
      return (counts, outputs, row) => void counts[outputs[row]! >= threshold ? 1 : 0]!++
    }
    case 'classes': {
      const width = output.classes.length
      const bins = output.classes.map((name) => {
        const place = names.indexOf(name)
        return place < 0 ? names.length - 1 : place
      })
      return (counts, outputs, row) => {
        let best = row * width
        for (let i = best + 1; i < (row + 1) * width; i++) if (outputs[i]! > outputs[best]!) best = i
        counts[bins[best - row * width]!]!++
      }
    }
    case 'number':
    case 'numbers':
    case 'quantiles': {
      const width = outputWidth(output)
      let first = 0
      const compared = numbers.flatMap(({ name, edges }) => {
        const from = first
        first += edges.length + 1
        const place = placeOf(output, name)
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
  }
}

/** The bins that both versions share, by position, and in how many of them one answer is counted. */
export function sharedBins(
  { names, numbers, perAnswer }: AnswerBins,
  candidate: Output,
): { places: number[]; perAnswer: number } {
  if (candidate.kind !== 'numbers') return { places: names.map((_, place) => place), perAnswer }
  const shared = numbers.map(({ name }) => placeOf(candidate, name) >= 0)
  const isShared = numbers.flatMap(({ edges }, at) => [...edges, Infinity].map(() => shared[at]!))
  return {
    places: names.flatMap((_, place) => (isShared[place] === false ? [] : [place])),
    perAnswer: shared.filter(Boolean).length,
  }
}

/** The position of the number in an answer; negative when the answer lacks it. */
const placeOf = (output: Output, name: string | undefined): number =>
  name !== undefined && output.kind === 'numbers' ? output.names.indexOf(name) : scorePlace(output)
