/** Computes rank metrics as functions of row weights, for the bootstrap. */
import { ratioOf } from './ratio.ts'
import type { Statistic } from './bootstrap.ts'
import { orderOf } from './auc.ts'

/** The rows of each score list, highest first; sorted once. */
const orders = new WeakMap<Float64Array, Uint32Array>()

function highestFirst(score: Float64Array): Uint32Array {
  const known = orders.get(score)
  if (known !== undefined) return known
  const order = orderOf(score).reverse()
  orders.set(score, order)
  return order
}

interface ScoredLabels {
  /** 0 or 1. */
  y: Float64Array
  score: Float64Array
}

/** The rows, highest score first, whether each is positive, and where each run of equal scores ends. */
function ranked({ y, score }: ScoredLabels) {
  const order = highestFirst(score)
  const positive = new Uint8Array(order.length)
  for (let place = 0; place < order.length; place++) if (y[order[place]!] === 1) positive[place] = 1
  const isEnd = (place: number) => score[order[place]!] !== score[order[place + 1] ?? -1]
  let ties = 0
  for (let place = 0; place < order.length; place++) if (isEnd(place)) ties++
  const tieEnds = new Uint32Array(ties)
  for (let place = 0, tie = 0; place < order.length; place++) if (isEnd(place)) tieEnds[tie++] = place + 1
  return { order, positive, tieEnds }
}

/**
 * Recall or precision among the share `top` of the rows with the highest scores, as if only these were looked at ("recall at k" with
 * k = top · rows; k is at least 1). Of rows that tie at the edge the part that fits counts, which is the mean over their orders.
 * @param top above 0, at most 1
 */
export function topStatistic(
  rows: ScoredLabels,
  { top, of }: { top: number; of: 'recall' | 'precision' },
): Statistic {
  const { order, positive, tieEnds } = ranked(rows)
  return {
    kind: 'weights',
    value: (weights) => {
      let all = 0
      let positives = 0
      for (let place = 0; place < order.length; place++) {
        const weight = weights[order[place]!]!
        all += weight
        positives += weight * positive[place]!
      }
      const budget = Math.max(Math.min(1, all), top * all)
      let left = budget
      let hits = 0
      for (let group = 0, place = 0; left > 0 && group < tieEnds.length; group++) {
        let tied = 0
        let tiedPositives = 0
        for (const end = tieEnds[group]!; place < end; place++) {
          const weight = weights[order[place]!]!
          tied += weight
          tiedPositives += weight * positive[place]!
        }
        const taken = Math.min(tied, left)
        if (tied > 0) hits += (tiedPositives * taken) / tied
        left -= taken
      }
      return ratioOf(hits, of === 'recall' ? positives : budget)
    },
  }
}

/** AUC or average precision from row weights: one pass over the rows, highest score first, ties together. */
export function rankStatistic(rows: ScoredLabels, of: 'area' | 'precision'): Statistic {
  const { order, positive, tieEnds } = ranked(rows)
  return {
    kind: 'weights',
    value: (weights) => {
      let positives = 0
      let all = 0
      let area = 0
      let precision = 0
      for (let group = 0, i = 0; group < tieEnds.length; group++) {
        let tied = 0
        let tiedPositives = 0
        for (const end = tieEnds[group]!; i < end; i++) {
          const weight = weights[order[i]!]!
          tied += weight
          tiedPositives += weight * positive[i]!
        }
        area += (tied - tiedPositives) * (positives + tiedPositives / 2)
        positives += tiedPositives
        all += tied
        // A row that was not drawn adds nothing; the 1 avoids 0/0.
        precision += (tiedPositives * positives) / (all > 0 ? all : 1)
      }
      return of === 'area' ? ratioOf(area, positives * (all - positives)) : ratioOf(precision, positives)
    },
  }
}
