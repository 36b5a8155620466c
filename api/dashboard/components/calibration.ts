/** Whether what a version promises comes true, on the newest outcomes of what it was really asked. */
import { calibration, type Calibration } from '../../../domain/metrics/calibration.ts'
import type { Output } from '../../../domain/model/features.ts'
import { truthOf } from '../../../domain/monitoring/quality.ts'
import type { AnsweredOutcome } from '../../../store/monitoring/latest-outcomes.ts'

/** Fewer say nothing. */
const fewest = 50

/** Of the probability of the positive class, or of the class that was answered; undefined where there is none, or too few outcomes. */
export function calibrationOf(
  answered: readonly AnsweredOutcome[],
  output: Output | undefined,
): Calibration | undefined {
  if (output === undefined || output.kind === 'number') return undefined
  const width = output.kind === 'classes' ? output.classes.length : 1
  const said: number[] = []
  const came: number[] = []
  for (const { outputs, place, value } of answered) {
    const truth = truthOf(typeof value === 'boolean' ? Number(value) : value, output)
    const given = outputs.slice(place * width, (place + 1) * width)
    if (truth === null || given.length !== width) continue
    const best = given.indexOf(Math.max(...given))
    said.push(given[output.kind === 'classes' ? best : 0]!)
    came.push(output.kind === 'classes' ? Number(best === truth) : truth)
  }
  return said.length < fewest ? undefined : calibration(came, said)
}
