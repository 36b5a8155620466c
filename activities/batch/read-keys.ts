/** Reads the keys of the rows of a part. */
import { quotedIdentifier, textLiteral } from '../../domain/sql-text.ts'
import type { ShardRange } from '../../domain/model/batch-spec.ts'
import type { BatchCell } from '../../domain/validation/expectations.ts'
import type { Duck } from '../data/duckdb.ts'
import { columnTypes } from '../data/rows.ts'

/** A number that a double would round is read as a text; a decimal always is one. A float keeps its digits: 0.1, not 0.10000000149. */
export async function readKeys(
  duck: Duck,
  path: string,
  key: readonly string[],
  { from: first, to }: ShardRange,
): Promise<Record<string, BatchCell>[]> {
  if (key.length === 0) return []
  const from = `read_parquet(${textLiteral(path)}, file_row_number = true)`
  const types = await columnTypes(duck, from)
  const long = key.filter((name) => /^U?BIGINT$/.test(types.get(name) ?? ''))
  const exact = long.map(
    (name, at) =>
      `, case when abs(${quotedIdentifier(name)}) > ${Number.MAX_SAFE_INTEGER} then cast(${quotedIdentifier(name)} as varchar) end as "exact ${at}"`,
  )
  const columns = key.map((name) => {
    const column = quotedIdentifier(name)
    return types.get(name) === 'FLOAT' ? `cast(cast(${column} as varchar) as double) as ${column}` : column
  })
  const rows = await duck.rows<Record<string, BatchCell>>(`
    select ${columns.join(', ')}${exact.join('')} from ${from}
    where file_row_number >= ${first} and file_row_number < ${to} order by file_row_number`)
  return rows.map((row) =>
    Object.fromEntries(key.map((name) => [name, row[`exact ${long.indexOf(name)}`] ?? row[name]!])),
  )
}
