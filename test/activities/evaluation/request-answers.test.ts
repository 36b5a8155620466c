/** Tests what a version and its parent are asked of logged requests, and what is said of the rest. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { askRequests } from '../../../activities/evaluation/request-answers.ts'
import { openVersionAnswers, type VersionAnswers } from '../../../activities/evaluation/version-answers.ts'
import { cellOf, requireColumn } from '../../../domain/model/columns.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { putArtifact } from '../../support/serving/artifact.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-requests-'))
const versions = openVersionAnswers(root, { yieldToEventLoop: () => Promise.resolve() })
let parent: string
let child: string
let digest: string
const rows = 2_500
beforeAll(async () => {
  const versionOf = (weight: number) =>
    putArtifact(root, {
      model: 'flights',
      features: { x: { kind: 'number' } },
      preprocessing: [{ name: 'x', kind: 'number', mean: 0, std: 1, fill: 0 }],
      layers: [{ units: 1, activation: 'linear', kernel: [weight], bias: [0] }],
      output: { kind: 'number' },
      golden: [{ x: 1 }],
    })
  parent = await versionOf(1)
  child = await versionOf(2)
  const artifacts = openArtifacts(root)
  const draft = await artifacts.draft('.parquet')
  await withDuck((duck) =>
    duck.run(`copy (select i::double as x, 'id ' || i as _prediction_id, i // 2 as _caller from range(${rows}) as all_rows (i))
      to ${textLiteral(draft)} (format parquet)`),
  )
  digest = (await artifacts.take('snapshots', draft)).digest
})
afterAll(async () => {
  await versions.close()
  rmSync(root, { recursive: true })
})

const requests = { rows, since: 'Monday', to: 'Sunday', leftOut: [] }
const ask = (given: { entity?: string; limitMs?: number; asked?: VersionAnswers; isNone?: boolean } = {}) => {
  const slices = [
    { name: 'few', where: 'x < 10' },
    { name: 'not logged', where: 'y < 10' },
  ]
  const evaluation = { slices, entity: given.entity } as unknown as ModelDefinition['evaluation']
  return askRequests(
    given.asked ?? versions,
    { parent, child },
    {
      requests: given.isNone ? requests : { ...requests, digest },
      definition: { evaluation },
      limitMs: given.limitMs,
    },
  )
}

it('both answer all requests, each with its prediction and its caller', async () => {
  const found = await ask()
  expect(found.asked).toMatchObject({ rows, answered: rows })
  const [last] = [rows - 1]
  expect([found.parent[last], found.child[last]]).toEqual([[last], [2 * last]])
  expect(found.ids[last]).toBe('id 2499')
  expect(found.entities.slice(0, 3)).toEqual(['caller 0', 'caller 0', 'caller 1'])
  expect(found.slices).toEqual([{ name: 'few', rows: Uint32Array.from({ length: 10 }, (_, row) => row) }])
})

it('a logged entity is the one of the test rows', async () => {
  expect((await ask({ entity: 'x' })).entities.slice(0, 2)).toEqual(['entity 0', 'entity 1'])
  expect((await ask({ entity: 'customer' })).entities[0]).toBe('caller 0')
})

it('none is answered without a file, and those that the time limit leaves are said', async () => {
  expect((await ask({ isNone: true })).asked).toEqual({ ...requests, answered: 0 })
  expect((await ask({ limitMs: -1 })).asked).toMatchObject({ answered: 0, limitMs: -1 })
})

it('rows that the parent refuses are left out with the reason, and a child that refuses what its parent answers fails', async () => {
  const failing = (failed: string): VersionAnswers => ({
    ...versions,
    ask: (asked, table) =>
      asked === failed && Number(cellOf(requireColumn(table, 'x'), table.rows - 1)) >= 2_000
        ? Promise.reject(new RangeError('the sum of x is too large'))
        : versions.ask(asked, table),
  })
  const found = await ask({ asked: failing(parent) })
  const { answered, refused } = found.asked
  expect(refused).toEqual({ rows: rows - answered, why: 'RangeError' })
  expect(answered).toBeLessThanOrEqual(2_000)
  expect([found.ids.length, found.child.length, found.parent.length]).toEqual([answered, answered, answered])
  await expect(ask({ asked: failing(child) })).rejects.toThrow('the sum of x is too large')
})
