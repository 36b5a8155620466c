/** Input buffers to compare: what two readers of the same body have read. */
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

/** A version of this artifact in memory. */
export function loadedOf(spec: ArtifactSpec): LoadedVersion {
  const manifest = artifactManifest(spec, { 'model.json': none, 'weights.bin': none })
  const topology = Buffer.from(JSON.stringify(topologyOf(spec)))
  return loadVersion('v', manifest, { 'model.json': topology, 'weights.bin': weightsOf(spec.layers) })
}

/** An input buffer with these rows, without the inputs of the network. */
export function inputOf(columns: FeatureColumns, rows: readonly object[]): InputBuffer {
  const input = createInputBuffer()
  resetInput(input, columns, rows.length)
  rows.forEach((row, index) => writeRow(input, columns, row as FeatureRow, index))
  return input
}

/** The contents of an input buffer as plain data. */
export function said(input: InputBuffer, { columns }: LoadedVersion) {
  return {
    rows: input.rows,
    routingKey: input.routingKey,
    callerId: input.callerId,
    wanted: input.wanted,
    input: [...input.input.subarray(0, input.rows * columns.width)],
    numbers: [...input.numbers.subarray(0, input.rows * columns.numbers)],
    texts: input.texts.toString('hex', 0, input.textBytes),
  }
}

/** What a reader understands; the code of its error where it refuses. */
export function understood(loaded: LoadedVersion, read: (input: InputBuffer) => void) {
  const input = createInputBuffer()
  try {
    read(input)
  } catch (error) {
    return (error as { code: string }).code
  }
  return said(input, loaded)
}
