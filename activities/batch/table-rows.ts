/** Lists the predictions of a part with their keys, for the table `batch_predictions`. */
import { predictedText, type ShardRange } from '../../domain/model/batch-spec.ts'
import { compileReview } from '../../domain/review/band.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import type { BatchRow } from '../../store/serving/batch-rows.ts'
import type { Batch } from '../../store/serving/batches.ts'
import type { LoggedPart } from './log-rows.ts'
import { readKeys } from './read-keys.ts'
import type { Answers } from './write-answers.ts'
import type { Duck } from '../data/duckdb.ts'

export async function tableRows(
  duck: Duck,
  of: { batch: Batch; manifest: Manifest; path: string; part: ShardRange; logged: LoggedPart | undefined },
  { rows, width, outputs, problems }: Answers,
): Promise<BatchRow[]> {
  const { batch, manifest, path, part, logged } = of
  const keys = await readKeys(duck, path, batch.output.key, part)
  const isForReview = compileReview(manifest.output)
  return Array.from({ length: rows }, (_, place): BatchRow => {
    const problem = problems.get(place)
    const given = problem === undefined ? [...outputs.subarray(place * width, (place + 1) * width)] : null
    return {
      row: part.from + place,
      key: keys[place] ?? {},
      outputs: given,
      answer: given && predictedText(manifest.output, given),
      review: given && (isForReview?.(given, 0) ?? null),
      problem: problem ?? null,
      predictionId: logged?.ids.get(place),
    }
  })
}
