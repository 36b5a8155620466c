/**
 * Trains two baselines on the same flights: a version that is never retrained, and one retrained every week without a gate. Both use
 * the trainer and the snapshots of Tenure.
 */
import { MockActivityEnvironment } from '@temporalio/testing'
import type { Deps } from '../../../activities/deps.ts'
import { startScorer } from '../../../activities/runtime/scoring-child.ts'
import { takeSnapshot } from '../../../activities/retrain/snapshot.ts'
import { train } from '../../../activities/retrain/train.ts'
import { binaryMetrics } from '../../../test/support/reference/model-metrics.ts'
import { getTraining } from '../../../store/training/trainings.ts'
import type { Week } from './traffic.ts'

export interface BaselineQuality {
  rows: number
  auc: number | null
  brier: number | null
}

const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const run = <A, R>(activity: (input: A) => Promise<R>, input: A): Promise<R> =>
  new MockActivityEnvironment({}, { logger: quiet }).run<[A], R, typeof activity>(activity, input)

/** Trains as of a wall-clock time and returns the digest of the artifact. */
export async function trainAsOf(
  deps: Deps,
  { model, models, asOfMs, id }: { model: string; models: string; asOfMs: number; id: string },
): Promise<string> {
  const { digest } = await run(takeSnapshot(deps), { model, asOf: new Date(asOfMs).toISOString() })
  await run(train(deps, { models }), { trainingId: id, model, snapshotDigest: digest })
  const { artifactDigest } = await getTraining(deps.store, id)
  if (artifactDigest === undefined) throw new Error(`${id} left no artifact`)
  return artifactDigest
}

/** Scores the flights of some weeks with an artifact. */
export async function baselineProbabilities(
  deps: Deps,
  artifactDigest: string,
  weeks: readonly Week[],
): Promise<(number | null)[][]> {
  const scorer = startScorer(
    [deps.config.artifactRoot, artifactDigest, 'flight-delay_v0.0.0'],
    new AbortController().signal,
  )
  try {
    const answers: (number | null)[][] = []
    for (const { columns, outcomes } of weeks)
      answers.push((await scorer.score({ rows: outcomes.length, columns })).outputs)
    return answers
  } finally {
    await scorer.close()
  }
}

export function qualityOf(outcomes: readonly number[], answers: readonly (number | null)[]): BaselineQuality {
  const answered = outcomes.flatMap((y, i) => (answers[i] == null ? [] : [{ y, p: answers[i] }]))
  const [labels, probabilities] = [answered.map(({ y }) => y), answered.map(({ p }) => p)]
  const { rows, auc, brier } = binaryMetrics(labels, probabilities, 0.5)
  return { rows, auc, brier }
}
