/** Says when the test rows will have enough of what a gate lacks, such as positives, at the rate of the rows that there are. */
import { groupedDigits } from '../figures.ts'
import type { SplitDefinition } from '../model-definition.ts'

export interface LackingEvidence {
  have: number
  need: number
  split: SplitDefinition
  /** The time between the first and the last event of all rows; absent without event times. */
  spanMs?: number | undefined
}

const [hourMs, dayMs] = [3_600_000, 86_400_000]

/** A period, rounded up: `7 h`, `12 d`. */
const periodText = (ms: number): string =>
  ms < 2 * dayMs ? `${Math.max(1, Math.ceil(ms / hourMs))} h` : `${Math.ceil(ms / dayMs)} d`

/**
 * A split by hash gets a share of all rows, so its test rows grow with them. The test period of a split by time is as long as before at
 * each retraining: once the source is older, only a longer period has more rows.
 */
export function expectationOf({ have, need, split, spanMs }: LackingEvidence): string {
  if (have === 0) return 'The date cannot be estimated: there are none yet.'
  if (split.kind === 'time' && split.maxTest !== undefined)
    return `The test rows are a sample of at most ${groupedDigits(split.maxTest)}: raise \`maxRows.test\` of the split.`
  const observedMs = split.kind === 'time' ? Math.min(split.testMs, spanMs ?? split.testMs) : spanMs
  if (observedMs === undefined || observedMs <= 0)
    return 'The date cannot be estimated: the rows have no event times.'
  const neededMs = (need / have) * observedMs
  if (split.kind === 'hash' || neededMs <= split.testMs)
    return `At the present rate, expected in about ${periodText(neededMs - observedMs)}.`
  return `Waiting is not enough: the test period is ${periodText(split.testMs)}. At the present rate one of ${periodText(neededMs)} has enough (\`test\` of the split).`
}
