/** Tests that every type of a file gives the listed values of each declared type, or is refused by name. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import type { DeclaredKind } from '../../../domain/values/readings.ts'
import { readingsOf, typeSamples, type TypeSample } from './type-table.ts'
import { csv, parquet } from '../../../models/define.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import type { Store } from '../../../store/postgres.ts'
import { readingIn, declaring } from '../../support/training/declaring.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-types-'))
const artifacts = openArtifacts(root)
/** A source is a file of the project. */
const folder = join('node_modules', '.cache', `tenure-types-${process.pid}`)
beforeAll(() => void mkdirSync(folder, { recursive: true }))
afterAll(() => [root, folder].forEach((path) => rmSync(path, { recursive: true })))

/** Writes 60 rows whose `value` is one of the two. */
async function put({ container, type, values }: TypeSample): Promise<string> {
  const path = join(folder, container === 'CSV' ? 'typed.csv' : 'typed.parquet')
  if (container === 'CSV') {
    const rows = Array.from(
      { length: 60 },
      (_, at) => `${at},${at / 10},${values[at % 2]},${at % 3 === 0},2026-01-01`,
    )
    writeFileSync(path, ['id,x,value,y,at', ...rows, ''].join('\n'))
    return path
  }
  const [one, two] = values.map((value) =>
    type === 'BLOB' ? `encode(${textLiteral(value)})` : `${textLiteral(value)}::${type}`,
  )
  await withDuck((duck) =>
    duck.run(`copy (select i as id, i / 10 as x, case when i % 2 = 0 then ${one} else ${two} end as value, i % 3 = 0 as y, date '2026-01-01' as at
    from range(60) as t(i)) to ${textLiteral(path)} (format parquet)`),
  )
  return path
}

async function read(reading: TypeSample, declared: DeclaredKind): Promise<unknown[]> {
  const path = await put(reading)
  const keys = { key: ['id'], eventTime: declared === 'time' ? 'value' : 'at' }
  const source = reading.container === 'CSV' ? csv(path, keys) : parquet(path, keys)
  const { definition } = declaring(declared, source)
  const asOf = '2026-03-01T00:00:00Z'
  const { digest } = await writeSnapshot({ definition, asOf, store: {} as Store, artifacts })
  return readingIn(await artifacts.locate('snapshots', digest), declared)
}

const cases = typeSamples
  .filter(({ container }) => container !== 'Postgres')
  .flatMap((reading) =>
    (['number', 'text', 'time', 'flag'] as const).map((declared) => ({ ...reading, declared })),
  )

it.each(cases)('$container $type $values declared as a $declared', async ({ declared, ...reading }) => {
  const expected = readingsOf(reading, declared)
  if (expected === undefined)
    await expect(read(reading, declared)).rejects.toMatchObject({
      code: 'source_unreadable',
      message: expect.stringMatching(
        /typed\.(csv, line|parquet, row) \d+, column "value": |typed.parquet, column "value": a duration/,
      ) as string,
    })
  else expect(await read(reading, declared)).toEqual(expected)
})
