/** Renames a column within a Parquet file, to one that DuckDB would not write beside the others. */
import { readFileSync, writeFileSync } from 'node:fs'

/** The names have one length, so that no place in the file moves. */
export function renameColumn(path: string, from: string, to: string): void {
  if (from.length !== to.length) throw new Error(`${from} and ${to} differ in length`)
  writeFileSync(path, readFileSync(path, 'latin1').replaceAll(from, to), 'latin1')
}
