/**
 * Explains why a version cannot score a row, with the messages of the prediction API. These need the original values instead of
 * dictionary codes.
 */
import type { ShardRange } from '../../domain/model/batch-spec.ts'
import type { BatchCell } from '../../domain/validation/expectations.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { computedColumns, failureOf, isFailedCell } from '../../domain/model/prepare.ts'
import { textLiteral, quotedIdentifier } from '../../domain/sql-text.ts'
import type { Answers } from './write-answers.ts'
import type { Duck } from '../data/duckdb.ts'
import type { Scorer } from '../runtime/scoring-child.ts'

const pieceRows = 5_000

export async function explainRefused(
  duck: Duck,
  { path, manifest, scorer, part }: { path: string; manifest: Manifest; scorer: Scorer; part: ShardRange },
  { rows, refused, problems }: Answers,
): Promise<void> {
  const places: number[] = []
  for (let row = 0; row < rows; row++) if (refused[row] !== 0) places.push(row)
  if (places.length === 0) return
  const { columns } = await duck.table(`
    select ${valuesOf(manifest)} from read_parquet(${textLiteral(path)}, file_row_number = true)
    where file_row_number >= ${part.from} and file_row_number < ${part.to} order by file_row_number`)
  for (let at = 0; at < places.length; at += pieceRows) {
    const some = places.slice(at, at + pieceRows)
    const cut = (cells: ArrayLike<BatchCell>) => some.map((row) => sendable(cells[row] ?? null))
    const scored = await scorer.score({
      rows: some.length,
      columns: Object.fromEntries(Object.entries(columns).map(([name, cells]) => [name, cut(cells)])),
    })
    some.forEach((row, index) => {
      const failed = computedColumns(manifest.features).find(({ name }) => isFailedCell(columns[name]?.[row]))
      const problem = failed === undefined ? scored.problems[index] : failureOf(failed.name)
      problems.set(row, problem ?? 'the version cannot read it')
    })
  }
}

/** The features as they are scored, as columns of a query. */
export const valuesOf = ({ features }: Pick<Manifest, 'features'>): string =>
  Object.entries(features)
    .map(
      ([name, { kind }]) =>
        `cast(${quotedIdentifier(name)} as ${kind === 'number' ? 'double' : 'varchar'}) as ${quotedIdentifier(name)}`,
    )
    .join(', ')

/** Sends a non-finite number as one that is too large, so that it is refused. JSON would turn it into null, which many models impute. */
function sendable(cell: BatchCell): number | string | null {
  if (typeof cell === 'number') return Number.isFinite(cell) ? cell : Number.MAX_VALUE
  return typeof cell === 'boolean' ? Number(cell) : cell
}
