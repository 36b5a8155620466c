/**
 * Reads the recorded traffic of a model for simulations: the requests of the last day, the champion's answers, and the arrival of
 * outcomes.
 */
import { outputWidth } from '@tenure/predictors/features'
import { isOfNumbers, type Output } from '../../../domain/tasks/output.ts'
import { maturedTruths } from '../../../domain/monitoring/quality.ts'
import type { RecordedAnswers, RecordedLabels } from '../../../domain/simulation/recorded-answers.ts'
import type { SimulatedWorld } from '../../../domain/simulation/scenario.ts'
import { quantiles } from '@tenure/sequential'
import { readDayTraffic } from '../../../store/dashboard/overview.ts'
import { listAnswered, listScores } from '../../../store/monitoring/matured-outcomes.ts'
import { findLabelWindow } from '../../../store/monitoring/monitor-windows.ts'
import type { Database } from '../../../store/postgres.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { getVersion, type Version } from '../../../store/registry/versions.ts'
import { answerBins, answerCounter, decisionOf, scorePlace } from '../../../domain/tasks/tasks.ts'

const dayMs = 86_400_000
/** The number of instances whose answers are read. */
const sampled = 5_000
const percentiles = Array.from({ length: 101 }, (_, i) => i / 100)

export type RecordedTraffic = Required<Pick<SimulatedWorld, 'tickMs' | 'recorded'>> &
  Pick<SimulatedWorld, 'answers' | 'labels'>

export async function readRecordedTraffic(
  database: Database,
  { model, tickMs, nowMs }: { model: string; tickMs: number; nowMs: number },
): Promise<RecordedTraffic> {
  const recorded = await readDayTraffic(database, { model, tickMs })
  const champion = await findChampion(database, model)
  if (champion === undefined) return { tickMs, recorded }
  const version = await getVersion(database, champion.version)
  return {
    tickMs,
    recorded,
    answers: await readAnswers(database, version, nowMs),
    labels: await readLabels(database, version),
  }
}

async function readAnswers(
  database: Database,
  { model, version, manifest: { output, profile } }: Version,
  nowMs: number,
): Promise<RecordedAnswers | undefined> {
  const bins = answerBins(output, profile)
  const count = bins && answerCounter(bins, output)
  if (bins === undefined || count === undefined) return undefined
  const width = outputWidth(output)
  const span = { model, version, fromMs: nowMs - dayMs, toMs: nowMs, width, requestsOnly: true }
  const outputs = Float32Array.from(await listScores(database, span, sampled))
  const rows = outputs.length / width
  if (rows < 1) return undefined
  const counts = bins.names.map(() => 0)
  for (let row = 0; row < rows; row++) count(counts, outputs, row)
  const { names, numbers } = bins
  let from = 0
  const recorded = numbers.map(({ edges }, at): RecordedAnswers => {
    const to = from + edges.length + 1
    const own = { names: names.slice(from, to), counts: counts.slice(from, to) }
    from = to
    const place = scorePlace(output) + at
    const scores = Array.from({ length: rows }, (_, row) => outputs[row * width + place]!)
    return { ...own, edges, scores: quantiles(scores, percentiles).map((score) => score ?? 0) }
  })
  const [first, ...others] = recorded
  if (first === undefined) return { names, counts }
  return { ...first, ...(others.length > 0 && { others }) }
}

/** Reads the labels of the newest outcome window that the monitor has judged. */
async function readLabels(
  database: Database,
  { model, version, manifest: { output } }: Version,
): Promise<RecordedLabels | undefined> {
  const window = await findLabelWindow(database, { model, version })
  if (window === undefined) return undefined
  const { fromMs, toMs, nowMs, delayMs } = window
  const span = { model, version, fromMs, toMs, width: outputWidth(output) }
  const answered = await listAnswered(database, span, sampled)
  const { rows, cohort } = maturedTruths({ ...answered, span: { fromMs, toMs, nowMs }, output })
  if (cohort.predictions === 0) return undefined
  const right = rightOf(output)
  return {
    delayMs,
    windowMs: toMs - fromMs,
    predictions: cohort.predictions,
    known: rows.length,
    ...(right && { right: rows.filter(right).length }),
  }
}

/** Whether an answer was right; undefined for numbers, which are not simply right or wrong. */
function rightOf(
  output: Output,
): ((row: { y: readonly number[]; answer: readonly number[] }) => boolean) | undefined {
  if (isOfNumbers(output)) return undefined
  return ({ y, answer }) => decisionOf(output, answer) === y[0]
}
