/**
 * What a version and its training take (time, processor, memory), and what that costs at the price of the model file. Without a price there
 * is no cost, because no default price is right.
 */
import { numberText } from '../figures.ts'
import type { QualificationLimits } from './qualification.ts'

/** What a version takes in a process of its own: to load, for one row from its features to its prediction, and in resident memory. */
export interface MeasuredCost {
  loadMs: number
  p50Us: number
  p99Us: number
  /** The processor time of a row in all threads and processes, once its code is warm. */
  cpuUs: number
  rssBytes: number
  /** What the server of others that answers it charges for 1,000 predictions. */
  paid?: { per1000: number; unit: string }
}

/** What a training took, with its refit: processor time of all threads, the most resident memory, and the time on the clock. */
export interface TrainingUsage {
  cpuMs: number
  peakBytes: number
  ms: number
}

/** The price of a processor and of a GiB of memory for an hour. An absent one is not charged. */
export interface Price {
  processorHour?: number
  gibHour?: number
  unit: string
}

export interface QualificationCost {
  candidate: MeasuredCost
  /** Absent where the model has no champion, and where it could not be measured. */
  champion?: MeasuredCost
  /** Of the candidate; absent where it was trained elsewhere or not measured. */
  training?: TrainingUsage
  /** That of the model file when the candidate was measured. */
  price?: Price
}

const hourMs = 3_600_000
const gib = 1_073_741_824

const priceOf = (
  { cpuMs, bytes, ms }: { cpuMs: number; bytes: number; ms: number },
  { processorHour = 0, gibHour = 0 }: Price,
): number => (cpuMs / hourMs) * processorHour + (ms / hourMs) * (bytes / gib) * gibHour

/**
 * The price of one prediction. Its memory is charged for its processor time: an idle process costs more. What a server charges in the
 * same unit is added.
 */
export const pricePerPrediction = ({ cpuUs, rssBytes, paid }: MeasuredCost, price: Price): number =>
  priceOf({ cpuMs: cpuUs / 1_000, bytes: rssBytes, ms: cpuUs / 1_000 }, price) +
  (paid?.unit === price.unit ? paid.per1000 / 1_000 : 0)

/** The price of a training. Its most memory is charged for all of its time. */
export const priceOfTraining = ({ cpuMs, peakBytes, ms }: TrainingUsage, price: Price): number =>
  priceOf({ cpuMs, bytes: peakBytes, ms }, price)

const paidText = ({ paid }: MeasuredCost): string =>
  paid === undefined ? 'nothing' : `${numberText(paid.per1000)} ${paid.unit}`
const mebibytes = (bytes: number): string => `${Math.round(bytes / 1_048_576)} MiB`
const threeDigits = (value: number): string => numberText(Number(value.toPrecision(3)))

/** What a candidate takes for one row, in memory and to load, beside the champion: `7.4 µs a row at the median (champion 5.1 µs), …`. */
export function costText({ candidate, champion, training, price }: QualificationCost): string {
  const beside = (text: (of: MeasuredCost) => string) =>
    `${text(candidate)}${champion === undefined ? '' : ` (champion ${text(champion)})`}`
  return [
    `${beside(({ p50Us }) => `${threeDigits(p50Us)} µs`)} a row at the median`,
    `${beside(({ p99Us }) => `${threeDigits(p99Us)} µs`)} at the 99th percentile`,
    // 1 µs a row is 1 ms for 1,000 rows.
    `${beside(({ cpuUs }) => `${threeDigits(cpuUs)} ms`)} of processor time for 1,000 predictions`,
    ...(price === undefined
      ? []
      : [
          `${beside((of) => `${threeDigits(1_000 * pricePerPrediction(of, price))} ${price.unit}`)} for 1,000 predictions`,
        ]),
    ...(candidate.paid === undefined && champion?.paid === undefined
      ? []
      : [`${beside(paidText)} for 1,000 predictions to the server that answers`]),
    `${beside(({ rssBytes }) => mebibytes(rssBytes))} of memory`,
    `loaded in ${beside(({ loadMs }) => `${loadMs} ms`)}`,
    ...(training === undefined ? [] : [trainingText(training, price)]),
  ].join(', ')
}

function trainingText(training: TrainingUsage, price: Price | undefined): string {
  const { cpuMs, peakBytes } = training
  const used = `trained in ${threeDigits(cpuMs / 1_000)} s of processor time with at most ${mebibytes(peakBytes)}`
  return price === undefined
    ? used
    : `${used} for ${threeDigits(priceOfTraining(training, price))} ${price.unit}`
}

/** Why a candidate takes too much beside the champion; undefined where it does not, and without a champion. */
export function costIssue(
  { candidate, champion }: QualificationCost,
  limits: Pick<QualificationLimits, 'p99Times' | 'cpuTimes' | 'rssTimes'>,
): string | undefined {
  if (champion === undefined) return undefined
  const guards = [
    ['p99Us', limits.p99Times, 'its time for a row at the 99th percentile'],
    ['cpuUs', limits.cpuTimes, 'its processor time for a row'],
    ['rssBytes', limits.rssTimes, 'the memory of its process'],
  ] as const
  for (const [of, limit, what] of guards) {
    const ratio = candidate[of] / champion[of]
    if (limit !== undefined && !(ratio <= limit))
      return `${what} is ${threeDigits(ratio)} times that of the champion, at most ${numberText(limit)} times are accepted`
  }
  return undefined
}
