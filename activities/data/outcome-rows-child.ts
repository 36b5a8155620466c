/**
 * Reads a Parquet file of outcomes as a snapshot would read it, in a child process of the API with little memory, because a file of a few bytes can
 * announce a billion values. `outcome-rows-child.ts <path> <job as JSON>` prints one row per line, `[key, value, observed_at, instance?]` as texts.
 * The last line is `{"rows"}`, or `{"code", "message", "context"}` of the error.
 */
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { isError, DomainError } from '../../domain/errors.ts'
import { quotedIdentifier, textLiteral } from '../../domain/sql-text.ts'
import { entityColumn } from '../../domain/values/names.ts'
import { readAs } from '../../domain/values/readings.ts'
import { familyOf, type Family } from '../../domain/values/types.ts'
import { withDuck, type Duck } from './duckdb.ts'
import { parquetColumns } from './parquet-files.ts'
import { columnTypes } from './rows.ts'
import { firstLineOf, withoutPaths } from './source-errors.ts'

interface OutcomeFileJob {
  /** The key, the value and the time. */
  columns: [key: string, value: string, at: string]
  /** A column that may be there. */
  instance?: string
  limits: { footerBytes: number; rows: number; processMb: number }
}

/** Limits the texts that are passed on. A longer text is not a valid outcome and is refused as too long. */
const maxTextLength = 2_000
/** The bytes `PAR1`. */
const magic = 0x31524150

const [path = '', job = '{}'] = process.argv.slice(2)

async function printRows({ columns, instance, limits }: OutcomeFileJob): Promise<number> {
  await requireSmallFooter(limits.footerBytes)
  return withDuck(async (duck) => {
    await duck.run(`set memory_limit = '${limits.processMb / 2}MB'`)
    const from = `read_parquet(${textLiteral(path)})`
    const [counted] = await duck.rows<{ rows: number }>(
      `select num_rows as rows from parquet_file_metadata(${textLiteral(path)})`,
    )
    if (counted!.rows > limits.rows) throw tooLarge(`the file has ${counted!.rows} rows`, limits.rows)
    const [found = []] = await parquetColumns(duck, [path])
    const names = found.map(({ name }) => name)
    const missing = columns.filter((column) => !names.includes(column))
    if (missing.length > 0) throw new Error(`it has no column ${missing.join(', ')}`)
    const read = found.flatMap((each) =>
      each.read === undefined ? [] : [`${each.read} as ${quotedIdentifier(each.name)}`],
    )
    await duck.run(
      `create temp view given as select *${read.length === 0 ? '' : ` replace (${read.join(', ')})`} from ${from}`,
    )
    const types = await columnTypes(duck, 'given')
    const family = (column: string): Family => familyOf(types.get(column)!)
    const [key, value, at] = columns
    const texts = [keyText(key, family(key)), valueText(value, family(value)), timeText(at, family(at))]
    if (instance !== undefined && names.includes(instance))
      texts.push(`cast(${quotedIdentifier(instance)} as varchar)`)
    return print(
      duck,
      `select ${texts.map((text) => `left(${text}, ${maxTextLength})`).join(', ')} from given`,
    )
  })
}

/** A number of a column with gaps is a double: 4711.0 names what 4711 names. */
const keyText = (name: string, family: Family): string =>
  family === 'double' || family === 'float' ? entityColumn([name]) : readAs('text', name)

/** The text that a CSV would have; a float has the digits of the double that it is. */
const valueText = (name: string, family: Family): string =>
  family === 'float' ? `cast(${readAs('number', name)} as varchar)` : readAs('text', name)

/** In UTC, as Parquet defines it. A text already contains its zone. */
const timeText = (name: string, family: Family): string =>
  ['date', 'moment', 'zoned'].includes(family)
    ? `strftime(cast(${quotedIdentifier(name)} as timestamp), '%Y-%m-%dT%H:%M:%S.%fZ')`
    : readAs('text', name)

async function print(duck: Duck, query: string): Promise<number> {
  const result = await duck.connection.stream(query)
  let rows = 0
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return rows
    rows += chunk.rowCount
    const lines = chunk.getRows().map((row) => `${JSON.stringify(row)}\n`)
    if (!process.stdout.write(lines.join(''))) await once(process.stdout, 'drain')
  }
}

/** The parsed form of a footer is some 200 times as large. */
async function requireSmallFooter(maxBytes: number): Promise<void> {
  const handle = await open(path)
  const { size } = await handle.stat()
  if (size < 12) throw new Error(`${size} bytes are too few for a Parquet file`)
  const tail = await handle.read(Buffer.alloc(8), 0, 8, size - 8)
  await handle.close()
  if (tail.buffer.readUInt32LE(4) !== magic) throw new Error('it does not end with PAR1')
  const bytes = tail.buffer.readUInt32LE(0)
  if (bytes > maxBytes) throw tooLarge(`the footer has ${bytes} bytes`, maxBytes)
}

const tooLarge = (what: string, limit: number): DomainError =>
  new DomainError('body_too_large', `${what}, the limit is ${limit}; write smaller row groups or files`, {
    limit,
  })

function unreadable(error: unknown): DomainError {
  const message = withoutPaths('the file', firstLineOf(error), [path])
  return new DomainError('invalid_request', `the Parquet file cannot be read: ${message.slice(0, 300)}`)
}

let end: object
try {
  end = { rows: await printRows(JSON.parse(job) as OutcomeFileJob) }
} catch (error) {
  const { code, message, context } = isError(error, 'body_too_large') ? error : unreadable(error)
  end = { code, message, context }
}
process.stdout.write(`${JSON.stringify(end)}\n`)
