/** Tests that every bad data file gives one sentence: what is wrong, where, and what to write instead. */
import { textLiteral } from '../../../domain/sql-text.ts'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { kindsIn } from '../../../activities/data/source-views.ts'
import { digestOfSource } from '../../../activities/data/source-digest.ts'
import { checkRows, checkSentence } from '../../../domain/validation/check-rows.ts'
import { judgeSnapshot } from '../../../activities/retrain/judge-snapshot.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { iris } from '../../../models/iris.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import type { Store } from '../../../store/postgres.ts'
import { markdownTable } from '../../support/docs/markdown-table.ts'
import { checkout } from '../../../temporal.config.ts'
import { typeRows } from './type-table.ts'
import { badFiles, goodFile, goodRows, isDirectory, isMissing, type BadFile } from './bad-files.ts'

/** Sources must be inside the checkout; this folder belongs to the test. */
const folder = join('node_modules', '.cache', `tenure-bad-files-${process.pid}`)
const file = join(folder, 'roses.csv')
const asOf = '2026-03-01T00:00:00Z'
const artifactsRoot = mkdtempSync(join(tmpdir(), 'tenure-bad-files-'))
const artifacts = openArtifacts(artifactsRoot)
const store = {} as Store

const roses = ({
  parquet = false,
  rows = 'select * from source',
}: Partial<BadFile> = {}): ModelDefinition => ({
  ...iris.definition,
  name: 'roses',
  features: {
    size: { kind: 'number' },
    colour: { kind: 'category', values: ['red', 'white'] },
    plot: { kind: 'category' },
  },
  label: {
    column: 'blooms',
    knownAt: 'known',
    output: { kind: 'probability', positive: 'blooms', threshold: 0.5 },
  },
  source: {
    kind: parquet ? 'parquet' : 'csv',
    files: { source: file },
    rows,
    eventTime: 'at',
    key: ['id'],
    lookbackMs: 0,
  },
  split: { kind: 'hash', test: 0.3, stratified: false },
  expectations: [],
})

const put = (bytes: BadFile['bytes']): void => {
  rmSync(join(checkout, file), { recursive: true, force: true })
  if (bytes === isDirectory) mkdirSync(join(checkout, file))
  else if (bytes !== isMissing) writeFileSync(join(checkout, file), bytes)
}
const take = async (definition: ModelDefinition) => {
  await digestOfSource(definition.source)
  return writeSnapshot({ definition, asOf, store, artifacts })
}
const read = async (digest: string, query: string) => {
  const path = await artifacts.locate('snapshots', digest)
  return withDuck((duck) => duck.table(query.replaceAll('snapshot', textLiteral(path))))
}

/** Returns the message of an error, or those of the failed expectations. */
async function answerTo(each: BadFile): Promise<string> {
  put(each.bytes)
  const definition = roses(each)
  const taken = await take(definition).catch((error: Error & { code?: string }) => {
    expect(error.code, error.stack).toMatch(/^(source_unreadable|snapshot_empty)$/)
    return error.message
  })
  if (typeof taken === 'string') return taken
  const path = await artifacts.locate('snapshots', taken.digest)
  const { excludedRows } = taken
  const { results } = await judgeSnapshot({ definition, path, asOf, excludedRows, earlierRows: [] })
  return checkRows(results).map(checkSentence).join('; ')
}

const documentation = (): string =>
  `# Bad data

A retraining never trains on rows that do not match the declarations of the model file; it fails and changes nothing in production. Its error message names the
file, the line, the column and the value, and what to write instead. \`tenure retrain <model> --watch\`, the page of the retraining and the alert show the message.
Rows that can be read and fail validation train nothing: each failed check names the column, the observed value, the limit, and the value of the champion's rows.

## How a file is read

- **Declared types decide.** A \`category()\` and the classes of a label are read as they are written: \`yes\` stays \`yes\`, \`1.10\` stays
  \`1.10\`, \`007\` stays \`007\`. A \`number()\` takes digits with a decimal point, and true or false as 1 or 0. A column that \`rows\` only renames
  (\`smoker as member\`) is read as the feature of that name. Other columns have the type that their values share.
- **True and false** are the same in Parquet (BOOLEAN), in a CSV (\`true\`) and in the JSON of a request: 1 and 0 of a \`number()\`, and the texts
  \`true\` and \`false\` of a \`category()\` that has them. A category of other texts, such as \`True\`, refuses \`true\` in a request.
- **Times** are ISO 8601, in UTC or with an offset; names of zones (BST, Europe/Berlin) and infinite times are refused. Labels of
  \`yesNo()\` are true or false, yes or no, 1 or 0, in any case of letters.
- **A CSV** is UTF-8, with the names of its columns in line 1 and delimited by commas, semicolons, tabs or \`|\`. Values with a delimiter, a line break or a
  quote stand in double quotes. Comments (\`#\`) may stand above the names, and lines may be empty.
- **Parquet files** have types of their own. The files of a pattern are read with one type a column, which holds the values of all: whole numbers beside
  decimals, dates beside times, columns without values. Other types beside each other (numbers and texts, times with and without a zone) and values that
  would change (9007199254740993 beside doubles, or the text \`2\` that would become \`2.0\`) are refused with both files. Bytes without a mark are texts in UTF-8.
  Decimals of more than 38 digits and durations are refused.
- **Numbers of 32 bits** (FLOAT of Parquet, \`real\` of Postgres) are the doubles that they are: 0.1 is 0.10000000149011612 as a \`number()\`, and \`0.1\` as a
  \`category()\`.
- **Names of columns** that differ in case only, or stand twice, are refused.
- **Nothing is left out silently.** Rows without the time of their event, or with a label but without the time at which it became known, are counted
  in a warning of the validation, beside the rows that became known later.
- **Columns that have changed places** since the champion was trained are blocked.

The rows of a feature view and of a batch prediction are read in the same way, and the entities of a view as texts. Drawn rows get one prediction from
a request, a batch of each format and a feature view: [equal-answers.test.ts](../test/activities/batch/equal-answers.test.ts).

## Types

Two values of each type, and how each declaration reads them. A test puts all combinations through a snapshot. A request writes a category as the
fourth column does.

${markdownTable(
  ['Type', 'Values', '`number()`', '`category()`', 'a time (UTC)', 'the label of `yesNo()`'],
  typeRows(),
)}

## Sentences

Each file has 40 rows and one fault. A test puts all of them through a snapshot and its validation.

${markdownTable(
  ['Fault', 'Answer'],
  badFiles.map(({ title, answer }) => [title, answer]),
)}
`

beforeAll(() => mkdirSync(join(checkout, folder), { recursive: true }))
afterAll(() => {
  for (const path of [join(checkout, folder), artifactsRoot]) rmSync(path, { recursive: true, force: true })
})

describe('a bad data file gives one sentence', () => {
  it('that the documentation lists; `vitest -u` writes it', () =>
    expect(documentation()).toMatchFileSnapshot(join(checkout, 'docs/bad-data.md')))

  it.each(badFiles)('$title', async (each) => {
    const answer = (await answerTo(each)).replaceAll(dirname(file), 'models/data')
    expect(answer).toBe(each.answer)
    expect(answer).not.toMatch(/ Error|CSV Error|\n|LINE 1|read_csv/)
    expect(answer).not.toContain(checkout)
  })
})

describe('a good file', () => {
  const taken = async (text: string) => {
    put(text)
    return (await take(roses())).digest
  }
  const rowsOf = async (text: string) => {
    const query = 'select id, _event_at, _known_at, size, colour, plot, _label from snapshot order by id'
    return (await read(await taken(text), query)).columns
  }

  it('has the texts of its categories as written', async () => {
    const digest = await taken(goodFile.replaceAll(/(red|white)/g, (word) => (word === 'red' ? 'yes' : 'no')))
    const { columns } = await read(digest, 'select distinct colour, plot from snapshot order by all')
    expect(columns).toEqual({ colour: ['no', 'no', 'yes', 'yes'], plot: ['1.10', 'north', '1.10', 'north'] })
  })

  it('has texts as written where the SQL renames their column', async () => {
    put(goodFile.replaceAll('plot', 'bed'))
    const { digest } = await take(roses({ rows: 'select * exclude (bed), bed as plot from source' }))
    const { columns } = await read(digest, 'select distinct plot from snapshot order by all')
    expect(columns).toEqual({ plot: ['1.10', 'north'] })
  })

  it('has the declared kinds of the columns that the SQL renames, and of no column whose name ends theirs', () => {
    const names = ['mean radius', 'radius', 'Area', 'a.b', 'other']
    const rows =
      'select "mean radius" as mean_radius, s.area AS "size",\n "a.b" as ab, cast(other as double) from source s'
    const declared = { mean_radius: 'number', size: 'text', ab: 'time' } as const
    expect([...kindsIn(names, { kind: 'csv', files: {}, rows }, declared)]).toEqual([
      ['mean radius', 'number'],
      ['Area', 'text'],
      ['a.b', 'time'],
    ])
  })

  const lines = goodFile.trimEnd().split('\n')
  it.each<[string, string]>([
    ['a byte order mark and CRLF', `\ufeff${goodFile.replaceAll('\n', '\r\n')}`],
    ['carriage returns alone', goodFile.replaceAll('\n', '\r')],
    [
      'a byte order mark and quoted names',
      goodFile.replace(/^.*/, (line) => `\ufeff"${line.replaceAll(',', '","')}"`),
    ],
    ['blanks and line breaks around its names', goodFile.replace('size,colour', ' size ,"colour\n"')],
    ['semicolons', goodFile.replaceAll(',', ';')],
    ['tabs', goodFile.replaceAll(',', '\t')],
    ['comments above the names', `# exported\n# today\n${goodFile}`],
    ['empty lines', goodFile.replace('\n3,', '\n\n3,')],
    ['columns in another case', goodFile.replace('size,colour', 'Size,COLOUR')],
    [
      'columns in another order',
      lines.map((line) => [...line.split(',').slice(1), line.split(',')[0]].join(',')).join('\n'),
    ],
    ['quoted values', goodFile.replaceAll('north', '"north"')],
    ['blanks after quotes', goodFile.replaceAll('north', '"north" ')],
    ['dates without times', goodFile.replaceAll('2026-02-01T10:00:00Z', '2026-02-01 10:00:00')],
    ['the word UTC', goodFile.replaceAll('2026-02-01T10:00:00Z', '2026-02-01 10:00:00 UTC')],
    ['zones', goodFile.replaceAll('2026-02-01T10:00:00Z', '2026-02-01T15:00:00+05:00')],
    ['labels in numbers', goodFile.replaceAll('yes', '1.0').replaceAll(/,no$/gm, ',0')],
    ["labels in pandas' words", goodFile.replaceAll('yes', 'True').replaceAll(/,no$/gm, ',False')],
  ])('may have %s', async (_what, text) => expect(await rowsOf(text)).toEqual(await rowsOf(goodFile)))

  it('may have line breaks and stray quotes in its texts', async () => {
    const texts = ['a\nb', 'a, b\nc, d', '5" pipe', 'say "hi"']
    const rows = goodFile
      .trimEnd()
      .split('\n')
      .map((line, at) => {
        const written = at === 3 ? '5" pipe' : `"${texts[(at + 1) % 4]!.replaceAll('"', '""')}"`
        return at === 0 ? line : line.replace(/,(north|1\.10),/, `,${written},`)
      })
    const { plot } = await rowsOf(rows.join('\n'))
    expect(new Set(Array.from(plot!))).toEqual(new Set(texts))
  })

  it('may have a line break in the name of a column', async () => {
    put(goodFile.replace('size', '"size\n(cm)"'))
    const { digest } = await take(
      roses({ rows: 'select * exclude ("size\n(cm)"), "size\n(cm)" as size from source' }),
    )
    expect((await read(digest, 'select size from snapshot order by cast(id as int)')).columns).toEqual({
      size: Array.from({ length: 40 }, (_, row) => row / 10),
    })
  })

  it('may have a column that is not declared and changes its type late', async () => {
    const rows = Array.from(
      { length: 30_000 },
      (_, row) =>
        `${row},${goodRows[row % 40]!.split(',').slice(1).join(',')},${row === 29_000 ? 'abc' : row}`,
    )
    const digest = await taken([`${goodFile.split('\n', 1)[0]},note`, ...rows].join('\n'))
    const { columns } = await read(digest, 'select count(*) as n, max(note) as note from snapshot')
    expect(columns).toEqual({ n: [30_000], note: ['abc'] })
  })
})

it('counts the rows that are left out, by reason', async () => {
  const change = (from: number, to: number, edit: (line: string) => string) => (line: string, at: number) =>
    at >= from && at < to ? edit(line) : line
  const rows = goodFile
    .trimEnd()
    .split('\n')
    .map(change(1, 4, (line) => line.replace('2026-02-01T10:00:00Z', '')))
    .map(change(4, 6, (line) => line.replace(/,2026-01-\d\d,/, ',,')))
    .map(change(6, 11, (line) => line.replace('2026-02-01', '2026-05-01')))
    .map(change(11, 12, (line) => line.replace(/2026-02-01T10:00:00Z(.*),(yes|no)$/, '$1,')))
  put(rows.join('\n'))
  const { excludedRows, parts } = await take(roses())
  expect(excludedRows).toEqual({ rows: 40, noEventTime: 2, noKnownTime: 3, pending: 1, later: 5 })
  expect(parts.train + parts.test).toBe(29)
})

it('names the moment of the last row where the split reaches none', async () => {
  put(goodFile)
  const day = 86_400_000
  const split = { kind: 'time', trainMs: 5 * day, testMs: day, maturedMs: 0 } as const
  await expect(take({ ...roses(), split })).rejects.toMatchObject({
    code: 'snapshot_empty',
    message:
      'there are no train rows of roses as of 2026-03-01T00:00:00Z; its last row became known at 2026-02-01T10:00:00Z: take a moment that the rows reach, such as --as-of 2026-02-01T10:00:01.000Z',
  })
})

it('names how far the events reach where labels become known after the as-of time', async () => {
  put(goodFile.replace('2026-02-01T10:00:00Z', '2026-05-01T10:00:00Z'))
  const day = 86_400_000
  const split = { kind: 'time', trainMs: 60 * day, testMs: day, maturedMs: 0 } as const
  await expect(take({ ...roses(), split })).rejects.toMatchObject({
    code: 'snapshot_empty',
    message: expect.stringMatching(
      /^there are no test rows of roses .*; the events of rows whose labels are known reach from 2026-01-\d\dT\d\d:00:00Z to 2026-01-\d\dT\d\d:00:00Z, and test rows are those of 2026-02-28T00:00:00.000Z to 2026-03-01T00:00:00.000Z$/,
    ) as string,
  })
})

it('names `matured` where it leaves no rows', async () => {
  put(goodFile)
  const day = 86_400_000
  const split = { kind: 'time', trainMs: 60 * day, testMs: 14 * day, maturedMs: 366 * day } as const
  await expect(take({ ...roses(), split })).rejects.toMatchObject({
    code: 'snapshot_empty',
    message:
      'there are no train rows of roses as of 2026-03-01T00:00:00Z; 40 rows are younger than `matured` of the split (8784 h) at the snapshot: lower it if their labels are known earlier, train as of a later moment, or bring earlier rows',
  })
})

it('names the split where it leaves no rows for training', async () => {
  put(goodFile)
  const day = 86_400_000
  const long = { kind: 'time', trainMs: 3_650 * day, testMs: 3_650 * day, maturedMs: 0 } as const
  await expect(take({ ...roses(), split: long })).rejects.toMatchObject({
    message: expect.stringContaining('all rows are test rows: shorten `test` of the split') as string,
  })
  const oneKey = { ...roses().source, key: ['colour'] }
  const few = { kind: 'hash', test: 0.999999, stratified: false } as const
  await expect(take({ ...roses(), source: oneKey, split: few })).rejects.toMatchObject({
    message: expect.stringContaining('all rows of a key to one side, and there are few keys') as string,
  })
})
