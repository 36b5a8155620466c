/** Tests that a batch joins the features that requests look up, with the values that a request at its start would get. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freezeBatch } from '../../../activities/batch/freeze-input.ts'
import { withDuck } from '../../../activities/data/duckdb.ts'
import type { Deps } from '../../../activities/deps.ts'
import type { BatchInput, NotFound } from '../../../domain/model/batch-spec.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { category, lookup, number, postgres, view } from '../../../models/define.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { upsertView } from '../../../store/features/feature-views.ts'
import type { Store } from '../../../store/postgres.ts'
import type { Batch } from '../../../store/serving/batches.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

const rooms = view('rooms', {
  entity: 'room',
  source: postgres({ rows: 'select * from said', eventTime: 'at' }),
  knownAt: 'told_at',
  values: { warmth: number(), mood: category() },
  timeToLive: '1 h',
})
const features = {
  room: category(),
  warmth: lookup(rooms, 'warmth'),
  mood: lookup(rooms, 'mood', { otherwise: 'calm' }),
}
const manifest = { features, preprocessing: [] } as unknown as Manifest

let store: Store
let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tenure-lookups-'))
  store = openPatientStore(await migratedDatabase(), { max: 3, onError: () => {} })
  await store.query(
    sql`create table said (room text, at timestamptz, told_at timestamptz, warmth float8, mood text)`,
  )
  await store.query(sql`grant select on said to tenure_reader`)
  await store.query(sql`
    insert into said values
      ('attic', now() - interval '20 min', now() - interval '10 min', 31, 'hot'),
      ('attic', now() - interval '30 min', now() - interval '29 min', 12, 'cold'),
      ('attic', now() - interval '1 min', now() + interval '1 h', 99, 'future'),
      ('hall', now() - interval '30 min', now() - interval '29 min', 20, 'calm'),
      ('cellar', now() - interval '5 h', now() - interval '5 h', 8, 'cold')`)
  await upsertView(store, rooms.definition)
})
afterAll(async () => {
  await store.close()
  rmSync(folder, { recursive: true })
})

let batches = 0
let reported: NotFound[] | undefined
async function frozen(input: BatchInput, of = manifest): Promise<Record<string, unknown>[]> {
  const deps = { store, artifacts: openArtifacts(folder), config: { batchDir: folder } } as unknown as Deps
  const batch = { id: `b${batches++}`, input, output: { key: ['id'] } } as unknown as Batch
  return withDuck(async (duck) => {
    const { path, notFound } = await freezeBatch(deps, duck, { batch, manifest: of, subjectKey: undefined })
    reported = notFound
    return duck.rows(
      `select * from read_parquet(${textLiteral(path)}, file_row_number = true) order by file_row_number`,
    )
  })
}

const looked = [
  { id: 1, room: 'hall', warmth: 20, mood: 'calm' },
  { id: 2, room: 'attic', warmth: 31, mood: 'hot' },
  // Values that are too old, and an unknown entity.
  { id: 3, room: 'cellar', warmth: null, mood: 'calm' },
  { id: 4, room: 'roof', warmth: null, mood: 'calm' },
  { id: 5, room: 'hall', warmth: 20, mood: 'calm' },
].map((row, place) => ({ ...row, file_row_number: place }))
const rowsText = looked.map(({ id, room }) => `${id},${room}`).join('\n')

it.each(['csv', 'parquet'])(
  'joins the values known now to the rows of a file, in their order: %s',
  async (kind) => {
    const path = join(folder, 'in.csv')
    writeFileSync(path, `id,room\n${rowsText}\n`)
    if (kind === 'parquet')
      await withDuck((duck) =>
        duck.run(
          `copy (select * from read_csv(${textLiteral(path)})) to ${textLiteral(join(folder, 'in.parquet'))}`,
        ),
      )
    expect(await frozen({ kind: 'file', path: `in.${kind}` })).toEqual(looked)
    // A value that stands in for a missing one counts too.
    expect(reported).toEqual([
      { feature: 'warmth', rows: 2 },
      { feature: 'mood', rows: 2 },
    ])
  },
)

it('joins to the rows of a query', async () => {
  const values = looked.map(({ id, room }) => `(${id}, '${room}')`).join()
  const query = `select * from (values ${values}) as t(id, room)`
  expect(await frozen({ kind: 'sql', query })).toEqual(looked)
})

it('joins to the rows of a query that has numbers as texts', async () => {
  const of = { features: { ...features, size: number() }, preprocessing: [] } as unknown as Manifest
  const query = `select 1 as id, 'hall'::text as room, '2.5'::text as size`
  expect(await frozen({ kind: 'sql', query }, of)).toMatchObject([{ size: 2.5, warmth: 20, mood: 'calm' }])
})

it('keeps a value that the input has', async () => {
  writeFileSync(join(folder, 'own.csv'), 'id,room,warmth\n1,hall,5.5\n')
  expect(await frozen({ kind: 'file', path: 'own.csv' })).toMatchObject([{ warmth: 5.5, mood: 'calm' }])
  expect(reported).toEqual([])
})

it('names the column of an entity that is missing, and a view that is not stored', async () => {
  writeFileSync(join(folder, 'bare.csv'), 'id\n1\n')
  await expect(frozen({ kind: 'file', path: 'bare.csv' })).rejects.toThrow(
    'the column "room" is missing: it names what is looked up',
  )
  const from = { ...features.warmth.from, digest: 'sha256:0' }
  const other = { features: { ...features, warmth: { ...features.warmth, from } }, preprocessing: [] }
  writeFileSync(join(folder, 'in.csv'), `id,room\n${rowsText}\n`)
  await expect(frozen({ kind: 'file', path: 'in.csv' }, other as unknown as Manifest)).rejects.toThrow(
    'a feature view of the version is not stored here',
  )
})
