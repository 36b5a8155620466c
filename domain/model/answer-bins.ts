/**
 * Fixes the bins in which the answers of two versions are compared: the decisions, the classes, or the ranges between the champion's
 * 10th, 50th and 90th percentile. They come from the champion, so that a candidate cannot choose its own.
 */
import { scorePlace } from './quantile-levels.ts'
import { outputWidth, type Output } from './features.ts'
import type { Profile } from './reference-profile.ts'

export interface AnswerBins {
  kind: Output['kind']
  /** One name a bin. */
  names: string[]
  /** Of a number: the upper edges of all bins but the last. */
  edges: number[]
}

/** More classes share the last bin. */
const maxBins = 64

/** The bins of a champion's answers; undefined for a number without a profile of its scores. */
export function answerBins(output: Output, score?: Profile): AnswerBins | undefined {
  switch (output.kind) {
    case 'probability':
      return { kind: output.kind, names: [`not ${output.positive}`, output.positive], edges: [] }
    case 'classes': {
      const { classes } = output
      const names = classes.length <= maxBins ? [...classes] : [...classes.slice(0, maxBins - 1), 'other']
      return { kind: output.kind, names, edges: [] }
    }
    case 'number':
    case 'numbers':
    case 'quantiles': {
      if (score?.kind !== 'number' || score.edges.length === 0) return undefined
      const { edges: deciles } = score
      const wanted = [deciles[0]!, deciles[deciles.length >> 1]!, deciles.at(-1)!]
      const edges = [...new Set(wanted.map(Math.fround))]
      const names = [`below ${edges[0]}`, ...edges.map((edge) => `from ${edge}`)]
      return { kind: output.kind, names, edges }
    }
  }
}

/** The bin of an answer in the outputs of a version; undefined for a version of another kind. */
export function answerBinner(
  { kind, names, edges }: AnswerBins,
  output: Output,
): ((outputs: Float32Array, row: number) => number) | undefined {
  if (output.kind !== kind) return undefined
  switch (output.kind) {
    case 'probability': {
      const { threshold } = output
      return (outputs, row) => (outputs[row]! >= threshold ? 1 : 0)
    }
    case 'classes': {
      const width = output.classes.length
      const bins = output.classes.map((name) => {
        const place = names.indexOf(name)
        return place < 0 ? names.length - 1 : place
      })
      return (outputs, row) => {
        let best = row * width
        for (let i = best + 1; i < (row + 1) * width; i++) if (outputs[i]! > outputs[best]!) best = i
        return bins[best - row * width]!
      }
    }
    case 'number':
    case 'numbers':
    case 'quantiles': {
      const [width, middle] = [outputWidth(output), scorePlace(output)]
      return (outputs, row) => {
        const value = outputs[row * width + middle]!
        let bin = 0
        while (bin < edges.length && value >= edges[bin]!) bin++
        return bin
      }
    }
  }
}
