/** Stores the predictions of a part of a batch in a table, for access by SQL. */
import { predictedText, type ShardRange } from '../../domain/model/batch-spec.ts'
import type { BatchCell } from '../../domain/validation/expectations.ts'
import { compileReview } from '../../domain/review/band.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { textLiteral, quotedIdentifier } from '../../domain/sql-text.ts'
import { storeShard, type BatchRow } from '../../store/serving/batch-rows.ts'
import type { Batch, BatchShard } from '../../store/serving/batches.ts'
import type { Store } from '../../store/postgres.ts'
import type { Answers } from './write-answers.ts'
import type { Duck } from '../data/duckdb.ts'

/** Inserts the predictions of a part, once. */
export async function insertAnswers(
  store: Store,
  duck: Duck,
  into: { batch: Batch; manifest: Manifest; path: string; part: ShardRange; counted: BatchShard },
  { rows, width, outputs, problems }: Answers,
): Promise<void> {
  const { batch, manifest, path, part, counted } = into
  const { key } = batch.output
  const keys: Record<string, BatchCell>[] =
    key.length === 0
      ? []
      : await readKeys(duck, `read_parquet(${textLiteral(path)}, file_row_number = true)`, key, part)
  const isForReview = compileReview(manifest.output)
  const answered = Array.from({ length: rows }, (_, place): BatchRow => {
    const problem = problems.get(place)
    const given = problem === undefined ? [...outputs.subarray(place * width, (place + 1) * width)] : null
    return {
      row: part.from + place,
      key: keys[place] ?? {},
      outputs: given,
      answer: given && predictedText(manifest.output, given),
      review: given && (isForReview?.(given, 0) ?? null),
      problem: problem ?? null,
    }
  })
  await storeShard(store, batch.id, counted, answered)
}

/** Reads the keys of the rows. A number that a double would round is read as a text; a decimal always is one. */
async function readKeys(
  duck: Duck,
  from: string,
  key: readonly string[],
  { from: first, to }: ShardRange,
): Promise<Record<string, BatchCell>[]> {
  const described = await duck.rows<{ column_name: string; column_type: string }>(
    `describe select * from ${from}`,
  )
  const types = new Map(described.map((each) => [each.column_name, each.column_type]))
  const long = key.filter((name) => /^U?BIGINT$/.test(types.get(name) ?? ''))
  const exact = long.map(
    (name, at) =>
      `, case when abs(${quotedIdentifier(name)}) > ${Number.MAX_SAFE_INTEGER} then cast(${quotedIdentifier(name)} as varchar) end as "exact ${at}"`,
  )
  const rows = await duck.rows<Record<string, BatchCell>>(`
    select ${key.map(quotedIdentifier).join(', ')}${exact.join('')} from ${from}
    where file_row_number >= ${first} and file_row_number < ${to} order by file_row_number`)
  return rows.map((row) =>
    Object.fromEntries(key.map((name) => [name, row[`exact ${long.indexOf(name)}`] ?? row[name]!])),
  )
}
