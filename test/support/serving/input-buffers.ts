/** Builds input buffers and compares what two readers of the same body have read. */
import type { FeatureColumns } from '../../../api/serving/codec/feature-columns.ts'
import {
  resetInput,
  createInputBuffer,
  writeRow,
  type InputBuffer,
} from '../../../api/serving/codec/input-buffer.ts'
import { loadVersion, type LoadedVersion } from '../../../api/serving/version/loaded-version.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import { artifactManifest, topologyOf, weightsOf, type ArtifactSpec } from './artifact.ts'

const none = { digest: `sha256:${'0'.repeat(64)}`, bytes: 0 }

/** Builds a version of this artifact in memory. */
export function loadedOf(spec: ArtifactSpec): LoadedVersion {
  const manifest = artifactManifest(spec, { 'model.json': none, 'weights.bin': none })
  const topology = Buffer.from(JSON.stringify(topologyOf(spec)))
  return loadVersion('v', manifest, { 'model.json': topology, 'weights.bin': weightsOf(spec.layers) })
}

/** Creates an input buffer with these rows, without the network's inputs. */
export function inputOf(columns: FeatureColumns, rows: readonly object[]): InputBuffer {
  const input = createInputBuffer()
  resetInput(input, columns, rows.length)
  rows.forEach((row, index) => writeRow(input, columns, row as FeatureRow, index))
  return input
}

/** Returns the contents of an input buffer as plain data. */
export function contentsOf(input: InputBuffer, { columns }: LoadedVersion) {
  return {
    rows: input.rows,
    routingKey: input.routingKey,
    reference: input.reference,
    callerId: input.callerId,
    wanted: input.wanted,
    input: [...input.input.subarray(0, input.rows * columns.width)],
    numbers: [...input.numbers.subarray(0, input.rows * columns.numbers)],
    texts: input.texts.toString('hex', 0, input.textBytes),
  }
}

/** Returns what a reader has parsed, or the code of its error. */
export function understood(loaded: LoadedVersion, read: (input: InputBuffer) => void) {
  const input = createInputBuffer()
  try {
    read(input)
  } catch (error) {
    return (error as { code: string }).code
  }
  return contentsOf(input, loaded)
}
