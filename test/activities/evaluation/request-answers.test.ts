/** Tests what a version and its parent are asked of logged requests, and what is said of the rest. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { askRequests, withRefusals, type RowAnswers } from '../../../activities/evaluation/request-answers.ts'
import { openVersionAnswers, type VersionAnswers } from '../../../activities/evaluation/version-answers.ts'
import { cellOf, columnOf, requireColumn } from '../../../domain/model/columns.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
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
/** The digest of a file of requests. */
async function logOf(count: number): Promise<string> {
  const artifacts = openArtifacts(root)
  const draft = await artifacts.draft('.parquet')
  await withDuck((duck) =>
    duck.run(`copy (select i::double as x, 'id ' || i as _prediction_id, i // 2 as _caller from range(${count}) as all_rows (i))
      to ${textLiteral(draft)} (format parquet)`),
  )
  return (await artifacts.take('snapshots', draft)).digest
}
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
  digest = await logOf(rows)
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
  expect((await ask({ limitMs: -1 })).asked).toMatchObject({
    answered: 0,
    unasked: expect.stringContaining('the others would have taken longer than') as string,
  })
})

/** A version that refuses questions with one of these rows, in words that quote it; the rows of each question are counted. */
function refusing(failed: string, rowsRefused: readonly number[]) {
  const sizes: number[] = []
  const asked: VersionAnswers = {
    ...versions,
    ask(digest, table) {
      if (digest !== failed) return versions.ask(digest, table)
      sizes.push(table.rows)
      const column = requireColumn(table, 'x')
      for (let row = 0; row < table.rows; row++)
        if (rowsRefused.includes(Number(cellOf(column, row))))
          return Promise.reject(new RangeError(`secret ${cellOf(column, row)}\nsecond line`))
      return versions.ask(digest, table)
    },
  }
  return { asked, sizes }
}
const someRows = [
  ['the first', [0]],
  ['the last', [rows - 1]],
  ['one within', [1_733]],
  ['neighbours', [700, 701, 702]],
  ['some', [5, 99, 100, 101, 1_000, 2_048]],
] as const

describe.each([
  ['parent', () => parent],
  ['child', () => child],
] as const)('logged rows that the %s refuses', (who, digestOf) => {
  it.each(someRows)('are found, each alone, by few questions: %s', async (_, places) => {
    const { asked, sizes } = refusing(digestOf(), places)
    const found = await ask({ asked })
    expect([...found.refusals[who].keys()]).toEqual(places)
    expect(found.asked).toMatchObject({ answered: who === 'parent' ? rows - places.length : rows })
    expect([found.parent.length, found.child.length, found.ids.length, found.entities.length]).toEqual(
      Array.from({ length: 4 }, () => rows),
    )
    for (const row of [0, 5, 700, 703, 1_733, rows - 1]) {
      const isRefused = places.some((place) => place === row)
      expect(found[who][row]).toEqual([isRefused ? NaN : row * (who === 'child' ? 2 : 1)])
      // What the parent refuses, the child is not asked.
      if (who === 'parent') expect(found.child[row]).toEqual([isRefused ? NaN : 2 * row])
    }
    expect(sizes.length).toBeLessThan(10 + 16 * places.length)
  })

  it('are described without a word of the message, which may quote a value', async () => {
    const { refusals } = await ask({ asked: refusing(digestOf(), [7]).asked })
    expect(refusals[who]).toEqual(new Map([[7, 'RangeError']]))
  })

  it('end the questions when they are a hundred', async () => {
    const all = Array.from({ length: rows }, (_, row) => row)
    const { asked, sizes } = refusing(digestOf(), all)
    const found = await ask({ asked })
    expect(found.parent).toHaveLength(100)
    expect(found.refusals[who].size).toBe(100)
    expect(sizes.length).toBeLessThan(150)
    expect(found.asked.unasked).toMatch(/^the others were not asked, because .* has refused 100 rows$/)
  })
})

it('an endpoint is asked no more rows than its limit, repeated ones included, and another parent all', async () => {
  const many = 20_050
  const whole = { ...requests, rows: many, digest: await logOf(many) }
  const answeredBy = async (artifact: Manifest['artifact']) => {
    const { asked, sizes } = refusing(parent, [300, 1_200])
    const manifestOf = async (of: string) => ({ ...(await versions.manifestOf(of)), artifact })
    const found = await askRequests(
      { ...asked, manifestOf },
      { parent, child },
      { requests: whole, definition: { evaluation: { slices: [] } } as unknown as ModelDefinition },
    )
    return { ...found.asked, rows: sizes.reduce((sum, size) => sum + size) }
  }
  const limited = await answeredBy('endpoint')
  expect(limited.rows).toBeLessThanOrEqual(20_000)
  expect(limited.answered).toBeGreaterThan(10_000)
  expect(limited.unasked).toBe('the others were not asked: the parent is asked at most 20,000 rows')
  const unlimited = await answeredBy(undefined)
  expect(unlimited).toMatchObject({ answered: many - 2 })
  expect(unlimited.unasked).toBeUndefined()
})

describe('test rows', () => {
  const table = { rows, columns: { x: columnOf(Array.from({ length: rows }, (_, row) => row)) } }
  const definition = { source: {} } as ModelDefinition
  const open = (asked: VersionAnswers, given: object = {}) => {
    const refusals = new Map<string, RowAnswers>()
    const tolerant = withRefusals(asked, refusals, {
      parent,
      child,
      definition: { ...definition, ...given } as ModelDefinition,
    })
    return { refusals, tolerant }
  }

  it.each(['parent', 'child'] as const)('that the %s refuses have no answer', async (who) => {
    const digestOfIt = { parent, child }[who]
    const { refusals, tolerant } = open(refusing(digestOfIt, [3, 900]).asked)
    const answers = (await tolerant.ask(digestOfIt, table)) as number[][]
    expect(answers).toHaveLength(rows)
    expect(answers.flatMap(([value], row) => (Number.isNaN(value) ? [row] : []))).toEqual([3, 900])
    expect(refusals.get(digestOfIt)!.refused.get(900)).toBe('RangeError: secret 900')
  })

  it.each([{ subject: 'customer' }, { source: { served: {} } }])(
    'are described by the code alone where they may be of a data subject: %j',
    async (given) => {
      const { refusals, tolerant } = open(refusing(child, [3]).asked, given)
      await tolerant.ask(child, table)
      expect(refusals.get(child)!.refused).toEqual(new Map([[3, 'RangeError']]))
    },
  )

  it('of which the child refuses all are without an answer, and a parent that answers none fails', async () => {
    const all = Array.from({ length: rows }, (_, row) => row)
    const answers = (await open(refusing(child, all).asked).tolerant.ask(child, table)) as number[][]
    expect(answers.every(([value]) => Number.isNaN(value))).toBe(true)
    await expect(open(refusing(parent, all).asked).tolerant.ask(parent, table)).rejects.toThrow('secret 0')
  })

  it('that another version refuses end the evaluation', async () => {
    const { tolerant } = open({ ...versions, ask: () => Promise.reject(new RangeError('another')) })
    await expect(tolerant.ask('sha256:other', table)).rejects.toThrow('another')
  })
})
