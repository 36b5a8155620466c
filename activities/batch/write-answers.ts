/** Stores the predictions of a batch part by part, so that a crash repeats at most one part. */
import { textLiteral } from '../../domain/sql-text.ts'
import type { DuckDBType, DuckDBValue } from '@duckdb/node-api'
import type { Artifacts } from '../../store/artifacts.ts'
import { loadDuckDb, type Duck } from '../data/duckdb.ts'

/** The predictions of one part, by row position. */
export interface Answers {
  rows: number
  width: number
  /** Row-major. */
  outputs: Float32Array
  refused: Uint8Array
  /** Why a row has no prediction. */
  problems: Map<number, string>
}

/** DuckDB's own chunk size. */
const chunkRows = 2_048

/**
 * Writes the predictions of a part to a file and returns its digest. Uncompressed, because the file is read once and then deleted. The file
 * names its batch, so that no other batch has the same file and deletes it. `logged`: the table of `logRows` has ids of rows.
 */
export async function keepAnswers(
  artifacts: Artifacts,
  duck: Duck,
  { batch, from, logged }: { batch: string; from: number; logged: boolean },
  { rows, width, outputs, problems }: Answers,
): Promise<string> {
  const names = Array.from({ length: width }, (_, output) => `o${output}`)
  await duck.run(`create or replace temp table answered (${names.map((name) => `${name} float`).join(', ')})`)
  await duck.run('create or replace temp table refused (place integer, problem varchar)')
  const { FLOAT } = loadDuckDb()
  const floats = names.map(() => FLOAT)
  await append(duck, 'answered', floats, rows, (at, count) =>
    names.map((_, output) =>
      Array.from({ length: count }, (_, row) => outputs[(at + row) * width + output]!),
    ),
  )
  const refusals = [...problems]
  await appendTexts(duck, 'refused', refusals)
  const [id, join] = logged ? [', prediction_id', 'left join logged using (place)'] : ['', '']
  const draft = await artifacts.draft('.parquet')
  const problem =
    refusals.length === 0
      ? 'select answered.rowid as place, *, null::varchar as problem from answered'
      : 'select answered.rowid as place, answered.*, problem from answered left join refused on place = answered.rowid'
  await duck.run(`
    copy (select ${from} + place as row, ${names.join(', ')}, problem${id} from (${problem}) as scored ${join} order by row)
    to ${textLiteral(draft)} (format parquet, compression uncompressed, kv_metadata {batch: ${textLiteral(batch)}})`)
  return (await artifacts.take('checkpoints', draft)).digest
}

/** Appends places of rows, each with a text, to a table of these two columns. */
export async function appendTexts(
  duck: Duck,
  table: string,
  texts: readonly (readonly [place: number, text: string])[],
): Promise<void> {
  const { INTEGER, VARCHAR } = loadDuckDb()
  await append(duck, table, [INTEGER, VARCHAR], texts.length, (at, count) =>
    [0, 1].map((column) => texts.slice(at, at + count).map((each) => each[column]!)),
  )
}

async function append(
  duck: Duck,
  table: string,
  types: DuckDBType[],
  rows: number,
  columnsOf: (at: number, count: number) => DuckDBValue[][],
): Promise<void> {
  const appender = await duck.connection.createAppender(table)
  for (let at = 0; at < rows; at += chunkRows) {
    const count = Math.min(chunkRows, rows - at)
    const chunk = loadDuckDb().DuckDBDataChunk.create(types, count)
    columnsOf(at, count).forEach((values, column) => chunk.setColumnValues(column, values))
    appender.appendDataChunk(chunk)
  }
  appender.closeSync()
}
