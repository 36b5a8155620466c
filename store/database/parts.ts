/**
 * Divides what a caller sends into statements of a size that the server chooses. The limit of a statement is fixed, so one of 10,000 rows
 * failed on a busy machine as if Postgres were away, and its repetition failed alike.
 */
const rowsOfStatement = 500

export function* partsOf<T>(rows: readonly T[]): Generator<readonly T[]> {
  for (let from = 0; from < rows.length; from += rowsOfStatement)
    yield rows.slice(from, from + rowsOfStatement)
}
