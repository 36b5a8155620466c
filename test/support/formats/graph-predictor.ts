/** Opens a graph of ONNX Runtime as a replica does, without a version. */
import {
  formatOf,
  type ArtifactColumn,
  type FeatureFit,
  type OpenedArtifact,
  type Predictor,
  type Runtimes,
} from '@tenure/predictors'

/** The predictor takes the columns of the file in their order: numbers as they are, and texts. */
export async function openGraph(
  bytes: Buffer,
  runtimes: Runtimes,
): Promise<{ columns: readonly ArtifactColumn[]; preprocessing: FeatureFit[]; predictor: Predictor }> {
  const files = { 'model.onnx': bytes }
  const format = formatOf({ artifact: 'onnx' })
  const { columns, outputs } = await format.inspect(files, { kind: 'number' })
  const preprocessing = columns.map(({ name, isText }): FeatureFit =>
    isText === true
      ? { name, kind: 'category', vocabulary: [], encoding: 'text' }
      : { name, kind: 'number', mean: 0, std: 1, fill: null },
  )
  const output = { kind: 'numbers' as const, names: Array.from({ length: outputs }, (_, at) => `y${at}`) }
  const description = { artifact: 'onnx' as const, output, preprocessing }
  const opening = format.open(description, files, { version: 'graph', runtimes })
  const { predictor } = await (opening as Promise<OpenedArtifact>)
  return { columns, preprocessing, predictor }
}
