/** Tests that a batch reads its CSV input by the declarations of the version. */
import { textLiteral } from '../../../domain/sql-text.ts'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freezeBatch } from '../../../activities/batch/freeze-input.ts'
import { withDuck } from '../../../activities/data/duckdb.ts'
import type { Deps } from '../../../activities/deps.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { renameColumn } from '../../support/rename-column.ts'
import type { Batch } from '../../../store/serving/batches.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenure-batch-'))
})
afterAll(() => rm(folder, { recursive: true }))

const manifest = (vocabulary: string[]) =>
  ({
    features: { size: { kind: 'number' }, member: { kind: 'category' }, release: { kind: 'category' } },
    preprocessing: [
      { name: 'size', kind: 'number', mean: 0, std: 1, fill: 0 },
      { name: 'member', kind: 'category', vocabulary },
      { name: 'release', kind: 'category', vocabulary: ['1.10'] },
    ],
  }) as unknown as Manifest

/** Freezes a file of the directory of batches. */
const freeze = (path: string, vocabulary: string[] = [], output: object = { kind: 'file' }) => {
  const deps = {
    store: { query: () => Promise.resolve({ rows: [] }) },
    artifacts: openArtifacts(folder),
    config: { batchDir: folder },
  } as unknown as Deps
  const batch = {
    id: 'b',
    input: { kind: 'file', path },
    output: { ...output, key: ['id'] },
  } as unknown as Batch
  return withDuck(async (duck) => {
    const frozen = await freezeBatch(deps, duck, {
      batch,
      manifest: manifest(vocabulary),
      subjectKey: undefined,
    })
    return {
      ...(await duck.table(`select id, member, release, size from read_parquet(${textLiteral(frozen.path)})`))
        .columns,
    }
  })
}

/** Returns the columns of a frozen input, for a version with this vocabulary of `member`. */
async function frozen(text: string, vocabulary: string[]): Promise<Record<string, unknown>> {
  await writeFile(join(folder, 'input.csv'), text)
  return freeze('input.csv', vocabulary)
}

const text = 'id,size,member,release\n1,2,yes,1.10\n2,3.5,no,2.0\n'

it.each([[['no', 'yes']], [['false', 'true']]])(
  'a batch reads the categories of a CSV as they are written, for a version that knows %j',
  async (vocabulary) =>
    expect(await frozen(text, vocabulary)).toMatchObject({
      member: ['yes', 'no'],
      release: ['1.10', '2.0'],
    }),
)

it.each(['yes', '0x10', '0b11', '1_000', '+-5', '(5)'])(
  'a batch refuses %s in a CSV as a number',
  async (value) =>
    expect(frozen(`id,size,member,release\n1,${value},yes,1.10\n2,3,no,2.0\n`, [])).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining(`input.csv, line 2, column "size": \`${value}\` is not a number`),
    }),
)

it('a batch finds the types of a CSV from all of its rows', async () => {
  const numbers = Array.from({ length: 30_000 }, (_, at) => `${at},1,yes,1.10\n`).join('')
  const { size } = await frozen(`id,size,member,release\n${numbers}A30001,2.5,no,1.10\n`, ['no', 'yes'])
  expect([(size as number[]).length, (size as number[]).at(-1)]).toEqual([30_001, 2.5])
})

it.each([
  ['no rows', 'id,size,member,release\n', 'no rows'],
  ['a row that is too short', text + '3,4\n', 'input.csv, line 4'],
  ['two columns of one name', text.replace('id,size', 'size,size'), 'two columns are named "size"'],
  ['a quote that is left open', 'id,size,member,release\n1,2,yes,1.10\n2,3,"no,2.0\n3,4,no,2.0\n', 'line 3'],
  ['nothing at all', '', 'the file is empty'],
])('a batch refuses a CSV with %s, and names no path of this machine', async (_what, bytes, problem) => {
  const refused = (await frozen(bytes, []).catch((error: unknown) => error)) as Error
  expect(refused).toMatchObject({ code: 'invalid_request' })
  expect(refused.message).toContain(problem)
  expect(refused.message).not.toContain(folder)
})

it.each([
  ['whole numbers', ['1', '20'], [1, 20]],
  ['numbers with leading zeros', ['007', '7'], ['007', '7']],
  [
    'numbers that are too long for a double',
    ['12345678901234567890123', '2'],
    ['12345678901234567890123', '2'],
  ],
])('a batch reads a key of %s as written', async (_what, [one, two], ids) => {
  expect(await frozen(`id,size,member,release\n${one},2,yes,1.10\n${two},3,no,2.0\n`, [])).toMatchObject({
    id: ids,
  })
})

it('a batch names the line, the column and the value of a CSV that is no number', async () => {
  const refused = frozen(`${text}3,3.5 cm,no,2.0\n4,5 cm,no,2.0\n`, ['no', 'yes'])
  await expect(refused).rejects.toMatchObject({
    code: 'invalid_request',
    message:
      'input.csv, line 4, column "size": `3.5 cm` is not a number: write 3.5 without a unit (1 more such row)',
  })
})

it('a batch reads a column of numbers without a value as missing numbers', async () =>
  expect(await frozen('id,size,member,release\n1,,yes,1.10\n2,,no,2.0\n', [])).toMatchObject({
    size: [null, null],
    id: [1, 2],
  }))

it('a batch reads true and false beside numbers as 1 and 0', async () =>
  expect(await frozen('id,size,member,release\n1,true,yes,1.10\n2,0.5,no,2.0\n', [])).toMatchObject({
    size: [1, 0.5],
  }))

const putParquet = (query: string) =>
  withDuck((duck) =>
    duck.run(`copy (${query}) to ${textLiteral(join(folder, 'input.parquet'))} (format parquet)`),
  )

it('a batch reads the texts of a Parquet file without a mark as texts', async () => {
  await putParquet(
    `select 1 as id, 2 as size, encode('süd') as member, '1.10' as release, '\\xFF'::blob as other`,
  )
  expect(await freeze('input.parquet')).toMatchObject({ member: ['süd'], size: [2] })
})

it.each([
  [
    `select 1 as id, 2 as size, '\\xFF'::blob as member, '1.10' as release`,
    'input.parquet, row 1, column "member": `\\xFF` is not a text: encode it as UTF-8, or leave the column out',
  ],
  [
    `select 1 as id, '3.5 cm' as size, 'yes' as member, '1.10' as release`,
    'input.parquet, row 1, column "size": `3.5 cm` is not a number: write 3.5 without a unit',
  ],
  [
    `select 1 as id, interval 2 days as size, 'yes' as member, '1.10' as release`,
    'input.parquet, column "size": a duration is not a number: export it as the number of its seconds, or leave the column out in `rows` of the source',
  ],
])('a batch refuses the Parquet rows of %s', async (query, message) => {
  await putParquet(query)
  await expect(freeze('input.parquet')).rejects.toMatchObject({ code: 'invalid_request', message })
})

it('a batch refuses the Parquet rows with two columns of one name', async () => {
  await putParquet(`select 1 as id, 2 as size, 3 as _ize, 'yes' as member, '1.10' as release`)
  renameColumn(join(folder, 'input.parquet'), '_ize', 'Size')
  await expect(freeze('input.parquet')).rejects.toThrow(
    'input.parquet: two columns are named "size" and "Size", which SQL does not tell apart: rename one of them',
  )
})

it.each(['absent.csv', 'absent.parquet', 'folder.csv/absent.csv'])(
  'a batch names the input %s that does not exist, and no path of this machine',
  async (name) =>
    expect(freeze(name)).rejects.toMatchObject({
      code: 'invalid_request',
      message: `there is no file ${name} in the directory for batches (TENURE_BATCHES, by default \`batches\` in the state directory)`,
    }),
)

it('a batch refuses a directory as its input by name', async () => {
  await mkdir(join(folder, 'folder.parquet'))
  await expect(freeze('folder.parquet')).rejects.toThrow(
    'folder.parquet in the directory for batches (TENURE_BATCHES, by default `batches` in the state directory) is not a file',
  )
})

it.each([
  [{ kind: 'table' }, true],
  [{ kind: 'file', log: 10 }, true],
  [{ kind: 'file' }, false],
])('a batch with the output %j refuses keys that Postgres cannot store: %s', async (output, isRefused) => {
  await writeFile(join(folder, 'nul.csv'), `${text}a\0b,1,yes,1.10\n`)
  const given = freeze('nul.csv', [], output)
  await (isRefused
    ? expect(given).rejects.toThrow('the key "id" has U+0000 in 1 row, which Postgres cannot store')
    : expect(given).resolves.toMatchObject({ id: ['1', '2', 'a\0b'] }))
})

it.each(['torn.parquet', 'torn.csv'])(
  'a batch says why its input %s cannot be read without a path of this machine',
  async (name) => {
    await writeFile(join(folder, name), Buffer.from([0xff, 0xfe, 0, 34, 10, 34, 0x80]))
    const refused = await freeze(name).catch((error: Error) => error)
    expect(refused).toMatchObject({ code: 'invalid_request', message: expect.stringContaining(name) })
    expect((refused as Error).message).not.toContain(folder)
  },
)
