/** Merges the parts of a batch into one file, with each prediction beside the key of its row. */
import { mkdir, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { outputWidth, type Output } from '../../domain/model/features.ts'
import { textLiteral, quotedIdentifier } from '../../domain/sql-text.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import type { Duck } from '../data/duckdb.ts'

/** Writes the output to a draft and renames it once, so that readers never see a partial file. */
export async function mergeAnswers(
  artifacts: Artifacts,
  duck: Duck,
  merge: {
    target: string
    id: string
    key: readonly string[]
    /** Whether rows are in the prediction log. */
    logged: boolean
    digests: readonly string[]
    /** The frozen input. */
    path: string
    output: Output
  },
): Promise<void> {
  const { key, logged, output, digests, path, target } = merge
  await mkdir(dirname(target), { recursive: true })
  const partial = `${target}.${merge.id.replaceAll('/', '-')}`
  const paths = await Promise.all(digests.map((digest) => artifacts.locate('checkpoints', digest)))
  const width = outputWidth(output)
  const names = Array.from({ length: width }, (_, place) => `o${place}`)
  const id = logged ? ', null::varchar as prediction_id' : ''
  const answersSql =
    paths.length === 0
      ? `(select null::bigint as row, ${names.map((name) => `null::float as ${name}`).join(', ')}, null::varchar as problem${id} limit 0)`
      : `read_parquet([${paths.map(textLiteral).join(', ')}])`
  // Joins by position; the query fails when the parts differ in length or order, because predictions would stand beside wrong keys.
  const rows =
    key.length === 0
      ? `(select * from ${answersSql})`
      : `(select ${key.map((name) => `asked.${quotedIdentifier(name)}`).join(', ')},
          answered.* replace (case when answered.row = asked.file_row_number then answered.row else error('the parts of the batch are not in order') end as row)
        from read_parquet(${textLiteral(path)}, file_row_number = true) as asked positional join (select * from ${answersSql}) as answered)`
  const carried = key.map((name) => `${quotedIdentifier(name)}, `).join('')
  await duck.run(`
    copy (
      select ${carried}row, case when problem is null then [${names.join(', ')}] end as outputs,
        case when problem is null then ${answerColumn(output, names)} end as answer, ${reviewColumn(output, names)}problem${logged ? ', prediction_id' : ''}
      from ${rows}
    ) to ${textLiteral(partial)} (format parquet, compression zstd)`)
  await rename(partial, target)
}

/** `answerOf` as SQL. */
function answerColumn(output: Output, names: readonly string[]): string {
  switch (output.kind) {
    case 'probability':
      return `cast(cast(o0 as double) >= ${output.threshold} as varchar)`
    case 'classes':
      // Of equal scores the first class wins, as in the prediction API.
      return `[${output.classes.map(textLiteral).join(', ')}][list_position([${names.join(', ')}], greatest(${names.join(', ')}))]`
    case 'number':
    case 'numbers':
    case 'quantiles':
      return 'null::varchar'
  }
}

/** `compileReview` as SQL, followed by a comma; empty for a model without a band. */
function reviewColumn(output: Output, names: readonly string[]): string {
  const marked = (isForReview: string) => `case when problem is null then ${isForReview} end as review, `
  if (output.kind === 'probability' && output.review !== undefined)
    return marked(`o0 between ${output.review.from}::float and ${output.review.to}::float`)
  if (output.kind === 'classes' && output.review !== undefined)
    return marked(`greatest(${names.join(', ')}) < ${output.review.below}::float`)
  return ''
}
