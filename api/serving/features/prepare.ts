/**
 * Computes the columns of `prepare` for the rows of a request, between the reading of the request and the model. Whatever protocol brings
 * the rows, they pass here as one input buffer. A version without computed columns does not.
 */
import { DomainError, isError } from '../../../domain/errors.ts'
import type { BatchCell } from '../../../domain/validation/expectations.ts'
import { computedColumns } from '../../../domain/model/prepare.ts'
import { noText } from '@tenure/predictors/features'
import { refuse, type Predictor } from '@tenure/predictors'
import { openPreparer, type CellsOf, type Preparer } from '../../../activities/data/prepared-rows.ts'
import { compileChecks, type FeatureCheck } from '../codec/row-reader.ts'
import { putCategory, putNumber } from '../codec/cell-reader.ts'
import { listTexts } from '../run-rows.ts'
import { writeTextBytes, writeTextValue, type InputBuffer } from '../codec/input-buffer.ts'
import type { FeatureColumns } from '../codec/feature-columns.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

/**
 * Returns the version with its computed columns. Throws `artifact_invalid` for expressions that may not run, and where the golden rows
 * get other values here than in training.
 */
export async function withComputedColumns(loaded: LoadedVersion): Promise<LoadedVersion> {
  const { manifest, columns, predictor } = loaded
  if (computedColumns(manifest.features).length === 0) return loaded
  const preparer = await openPreparer(manifest.features)
  try {
    await checkGolden(loaded, preparer)
  } catch (error) {
    preparer.close()
    throw error
  }
  const checks = compileChecks(manifest.features, manifest.preprocessing)
  const run: Predictor['run'] = async (_input, rows, outputs, order, texts) => {
    if (order !== undefined && order.begunMs === 0) order.begunMs = performance.now()
    // Requests and their copies pass the buffer that they were read into.
    const buffer = texts as InputBuffer
    await fillComputed(buffer, { columns, preparer, checks })
    if (order?.cancelled === true) return
    await predictor.run(buffer.input, rows, outputs, order, buffer)
  }
  return {
    ...loaded,
    predictor: {
      ...predictor,
      run,
      close() {
        preparer.close()
        predictor.close?.()
      },
    },
  }
}

async function checkGolden({ manifest, version }: LoadedVersion, preparer: Preparer): Promise<void> {
  const { instances } = manifest.golden
  const computed = await preparer.compute(
    (name) => instances.map((row) => row[name] ?? null),
    instances.length,
  )
  for (const [name, values] of Object.entries(computed)) {
    const expected = instances.map((row) => row[name] ?? null)
    const row = expected.findIndex((value, at) => value !== values[at])
    if (row >= 0)
      refuse(
        `golden row ${row} of ${version} has "${name}" ${String(values[row])} here, in training it was ${String(expected[row])}`,
      )
  }
}

interface Filling {
  columns: FeatureColumns
  preparer: Preparer
  checks: ReadonlyMap<string, FeatureCheck>
}

/** Writes the computed columns into the buffer. Throws `prepare_failed` for the first row of which one cannot be computed. */
async function fillComputed(input: InputBuffer, { columns, preparer, checks }: Filling): Promise<void> {
  const { rows } = input
  const cells = cellsOf(input, columns)
  const computed = await preparer.compute(cells, rows)
  const failure = await preparer.failureIn(computed, cells)
  if (failure !== undefined) throw failure
  const texts = new Map<number, readonly BatchCell[]>()
  for (const column of columns.computed) {
    const values = computed[column.name]!.map((value, row) => checked(checks.get(column.name)!, value, row))
    if (column.kind === 'number')
      for (let row = 0; row < rows; row++)
        putNumber(column, columns, input, row, values[row] as number | null)
    else {
      texts.set(column.slot, values)
      for (let row = 0; row < rows; row++) {
        const start = row * columns.width + column.start
        if (column.encoding === 'one-hot') input.input.fill(0, start, start + column.other + 1)
        putCategory(column, columns, input, row, values[row] as string | null)
      }
    }
  }
  if (texts.size > 0) replaceTexts(input, columns, texts)
}

function checked(check: FeatureCheck, value: BatchCell, row: number): number | string | null {
  try {
    return check(value, row)
  } catch (error) {
    if (!isError(error)) throw error
    throw new DomainError('prepare_failed', `${error.message}; prepare computes it`)
  }
}

/** Reads the values of the rows by the names of their columns. */
function cellsOf(input: InputBuffer, { all, numbers, texts }: FeatureColumns): CellsOf {
  const { rows } = input
  let texted: (string | null)[] | undefined
  return (name) => {
    const column = all.find((each) => each.name === name)!
    const { slot, kind } = column
    if (kind === 'category') {
      texted ??= listTexts(input, rows * texts)
      return Array.from({ length: rows }, (_, row) => texted![row * texts + slot]!)
    }
    return Array.from({ length: rows }, (_, row) => {
      const value = input.doubles[row * numbers + slot]!
      return Number.isNaN(value) ? null : value
    })
  }
}

/** Writes the texts of some columns in the place of those that were read. */
function replaceTexts(
  input: InputBuffer,
  { texts: width }: FeatureColumns,
  replaced: ReadonlyMap<number, readonly BatchCell[]>,
): void {
  const before = Buffer.from(input.texts.subarray(0, input.textBytes))
  input.textBytes = 0
  let at = 0
  for (let row = 0; row < input.rows; row++)
    for (let slot = 0; slot < width; slot++) {
      const length = before.readUInt32LE(at)
      const end = at + 4 + (length === noText ? 0 : length)
      const values = replaced.get(slot)
      if (values !== undefined) writeTextValue(input, (values[row] as string | null) ?? undefined)
      else if (length === noText) writeTextValue(input, undefined)
      else writeTextBytes(input, before, at + 4, end)
      at = end
    }
}
