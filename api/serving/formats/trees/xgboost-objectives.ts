/** Maps XGBoost objectives to the start of sums and to the functions that convert sums to predictions. */
import { refuse } from '../../network/layers-model.ts'
import { writtenAs } from './document-fields.ts'
import {
  ascending,
  exponential,
  identity,
  leastStep,
  logistic,
  rising,
  softmax,
  step,
  type LinkFunction,
} from './links.ts'

export interface XgboostVersion {
  major: number
  minor: number
}

/** JavaScript also reads an empty text and hexadecimal numbers. */
const decimal = /^\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?\s*$/i

/**
 * Reads the starts of the sums: `[0.5]`, or a number as text. Objectives with a logistic or logarithmic link store them on the scale of
 * the prediction.
 */
export function xgboostStarts(
  text: unknown,
  objective: string,
  { outputs, version: { major, minor } }: { outputs: number; version: XgboostVersion },
): Float64Array {
  // Since version 3.2, XGBoost keeps probabilities this far from 0 and 1.
  const isKept = major > 3 || (major === 3 && minor >= 2)
  const scores = String(text)
    .replaceAll(/[[\]]/g, '')
    .split(',')
    .map((each) => (decimal.test(each) ? Number(each) : NaN))
  if (
    scores.some((score) => !Number.isFinite(Math.fround(score))) ||
    (scores.length !== 1 && scores.length !== outputs)
  )
    refuse(`base_score is ${writtenAs(text)}, not a finite number for each output`)
  const margin = (score: number): number => {
    const single = Math.fround(score)
    if (/^(binary:logistic|reg:logistic)$/.test(objective)) {
      const isProbability = isKept ? single >= 0 && single <= 1 : single > 0 && single < 1
      if (!isProbability) refuse(`base_score ${score} is not a probability`)
      const kept = isKept ? Math.min(Math.max(single, leastShare), Math.fround(1 - leastShare)) : single
      return Math.fround(-Math.log(Math.fround(1 / kept) - 1))
    }
    if (/^(count:poisson|reg:gamma|reg:tweedie|survival:cox|survival:aft)$/.test(objective))
      return Math.fround(Math.log(single))
    return single
  }
  const starts = Float64Array.from({ length: outputs }, (_, output) =>
    margin(scores[scores.length === 1 ? 0 : output]!),
  )
  return objective === 'reg:expectileerror' ? stepsBetween(starts) : starts
}

const leastShare = Math.fround(1e-6)

/** Returns the sums from which `rising` computes these predictions. */
const stepsBetween = (answers: Float64Array): Float64Array =>
  answers.map((answer, at) => {
    if (at === 0) return answer
    const step = Math.max(answer - answers[at - 1]! - leastStep, leastStep)
    return Math.fround(step + Math.log(-Math.expm1(-step)))
  })

const links: Readonly<Record<string, LinkFunction>> = {
  'binary:logistic': logistic(),
  'reg:logistic': logistic(),
  'multi:softprob': softmax,
  'multi:softmax': softmax,
  'count:poisson': exponential,
  'reg:gamma': exponential,
  'reg:tweedie': exponential,
  'survival:cox': exponential,
  'survival:aft': exponential,
  'binary:hinge': step,
  'binary:logitraw': identity,
  'reg:squarederror': identity,
  'reg:linear': identity,
  'reg:squaredlogerror': identity,
  'reg:absoluteerror': identity,
  'reg:pseudohubererror': identity,
  'reg:quantileerror': identity,
  'reg:expectileerror': rising,
  'rank:pairwise': identity,
  'rank:ndcg': identity,
  'rank:map': identity,
}

/** Returns the link function. Throws `artifact_invalid` for an unknown objective. */
export function xgboostLink(objective: string, { major, minor }: XgboostVersion): LinkFunction {
  // Since version 3.4, crossing quantiles are sorted.
  const isOrdered = major > 3 || (major === 3 && minor >= 4)
  if (objective === 'reg:quantileerror' && isOrdered) return ascending
  if (!Object.hasOwn(links, objective))
    refuse(
      `the objective ${JSON.stringify(objective)} is not known: train with one of ${Object.keys(links).join(', ')}`,
    )
  return links[objective]!
}
