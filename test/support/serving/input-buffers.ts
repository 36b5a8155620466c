/** Sheets to compare: what two readers of the same body have understood. */
import type { Columns } from '../../../api/serving/codec/feature-columns.ts'
import { beginSheet, createSheet, keepRow, type Sheet } from '../../../api/serving/codec/input-buffer.ts'
import { loadVersion, type LoadedVersion } from '../../../api/serving/version/loaded-version.ts'
import type { Row } from '../../../domain/model/features.ts'
import { manifestOf, topologyOf, weightsOf, type ArtifactSpec } from './artifact.ts'

const none = { digest: `sha256:${'0'.repeat(64)}`, bytes: 0 }

/** A version of this artifact in memory. */
export function loadedOf(spec: ArtifactSpec): LoadedVersion {
  const manifest = manifestOf(spec, { 'model.json': none, 'weights.bin': none })
  const topology = Buffer.from(JSON.stringify(topologyOf(spec)))
  return loadVersion('v', manifest, { topology, weights: weightsOf(spec.layers) })
}

/** A sheet that says these rows; what the network is fed with is left out. */
export function sheetOf(columns: Columns, rows: readonly object[]): Sheet {
  const sheet = createSheet()
  beginSheet(sheet, columns, rows.length)
  rows.forEach((row, index) => keepRow(sheet, columns, row as Row, index))
  return sheet
}

/** Everything that the sheet says, as plain data. */
export function said(sheet: Sheet, { columns }: LoadedVersion) {
  return {
    rows: sheet.rows,
    routingKey: sheet.routingKey,
    callerId: sheet.callerId,
    wanted: sheet.wanted,
    input: [...sheet.input.subarray(0, sheet.rows * columns.width)],
    numbers: [...sheet.numbers.subarray(0, sheet.rows * columns.numbers)],
    texts: sheet.texts.toString('hex', 0, sheet.textBytes),
  }
}

/** What a reader understands; the code of its error where it refuses. */
export function understood(loaded: LoadedVersion, read: (sheet: Sheet) => void) {
  const sheet = createSheet()
  try {
    read(sheet)
  } catch (error) {
    return (error as { code: string }).code
  }
  return said(sheet, loaded)
}
