/** Words what the gate has judged besides its metrics: fairness, the worst slice and the calibration, with their figures. */
import { fairnessText } from '../../domain/evaluation/fairness.ts'
import { worstSlicesFirst } from '../../domain/evaluation/slices.ts'
import { counted, fourDigits } from '../../domain/figures.ts'
import type { JudgedParts } from '../client/responses.ts'

/** One line for each attribute and part; empty where the gate has judged none. */
export function gateParts({
  slices = [],
  fairness = [],
  calibration,
  policy,
}: Partial<JudgedParts>): string[] {
  const figure = (value: number | null | undefined) => fourDigits(value ?? null, '–')
  const lines = fairness.map((row) => {
    const { selectionRatio, tprDifference, fprDifference } = row
    const figures = `; smallest over largest selection rate ${figure(selectionRatio.value)}, true-positive rates differ by ${figure(tprDifference.value)}, false-positive rates by ${figure(fprDifference.value)}`
    return `fairness by ${row.attribute}: ${fairnessText(row)}${row.verdict === 'undefined' ? '' : figures}`
  })
  const metric = policy?.slices.metric
  const [worst] = worstSlicesFirst(slices, metric)
  if (worst !== undefined && metric !== undefined)
    lines.push(
      `worst slice of ${slices.length}: ${worst.name}: ${worst.verdict}; ${metric} ${figure(worst.challenger)}, champion ${figure(worst.champion)}, ${counted(worst.rows, 'row')}`,
    )
  if (calibration)
    lines.push(
      `calibration: ${calibration.verdict}; expected error ${figure(calibration.challenger.ece)}, champion ${figure(calibration.champion?.ece)}`,
    )
  return lines
}
