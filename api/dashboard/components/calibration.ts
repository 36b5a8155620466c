/** Selects the probabilities and outcomes of a version's latest live predictions, and computes its calibration. */
import { outputWidth } from '@tenure/predictors/features'
import { calibration, type Calibration } from '@tenure/sequential'
import { isOfNumbers, type Output } from '../../../domain/tasks/output.ts'
import { truthOf } from '../../../domain/model/outcome.ts'
import type { AnsweredOutcome } from '../../../store/monitoring/outcomes.ts'
import { decisionOf, taskOf } from '../../../domain/tasks/tasks.ts'

const minOutcomes = 50

/** Probabilities with their outcomes: of the positive class, or of the predicted class. */
export interface ScoredOutcomes {
  predicted: number[]
  observed: number[]
}

/** Undefined without probabilities, or with too few outcomes. */
export function scoredOutcomes(
  answered: readonly AnsweredOutcome[],
  output: Output | undefined,
): ScoredOutcomes | undefined {
  if (output === undefined || isOfNumbers(output)) return undefined
  const width = outputWidth(output)
  const task = taskOf(output)
  const predicted: number[] = []
  const observed: number[] = []
  for (const { outputs, place, value } of answered) {
    const truth = truthOf(value, output)?.[0]
    const given = outputs.slice(place * width, (place + 1) * width)
    if (truth === undefined || given.length !== width) continue
    predicted.push(given[task.place(output, given)]!)
    observed.push(task.labelKind === 'flag' ? truth : Number(decisionOf(output, given) === truth))
  }
  return predicted.length < minOutcomes ? undefined : { predicted, observed }
}

export function calibrationOf(
  answered: readonly AnsweredOutcome[],
  output: Output | undefined,
): Calibration | undefined {
  const scored = scoredOutcomes(answered, output)
  return scored && calibration(scored.observed, scored.predicted)
}
