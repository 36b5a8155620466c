/** Opens a graph as a replica does, without a version. */
import {
  bindColumns,
  formatOf,
  type ArtifactColumn,
  type FeatureFit,
  type OpenedArtifact,
  type Predictor,
  type Runtimes,
} from '@tenure/predictors'

/** The predictor takes the columns of the file in their order: numbers as they are, and texts; or the features that are given. */
export async function openGraph(
  bytes: Buffer,
  runtimes: Runtimes,
  features?: Parameters<typeof bindColumns>[0]['features'],
): Promise<{ columns: readonly ArtifactColumn[]; preprocessing: FeatureFit[]; predictor: Predictor }> {
  const files = { 'model.onnx': bytes }
  const format = formatOf({ artifact: 'onnx' })
  const { columns, outputs } = await format.inspect(files, { kind: 'number' })
  const preprocessing =
    features === undefined
      ? columns.map(({ name, isText }): FeatureFit =>
          isText === true
            ? { name, kind: 'category', vocabulary: [], encoding: 'text' }
            : { name, kind: 'number', mean: 0, std: 1, fill: null },
        )
      : bindColumns({ columns, features }).fits
  const output = { kind: 'numbers' as const, names: Array.from({ length: outputs }, (_, at) => `y${at}`) }
  const description = { artifact: 'onnx' as const, output, preprocessing }
  const opening = format.open(description, files, { version: 'graph', runtimes })
  const { predictor } = opening instanceof Promise ? await opening : lastOf(opening)
  return { columns, preprocessing, predictor }
}

function lastOf(stages: Generator<void, OpenedArtifact>): OpenedArtifact {
  for (;;) {
    const { done, value } = stages.next()
    if (done === true) return value
  }
}
