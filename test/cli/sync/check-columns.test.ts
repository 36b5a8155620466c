/** Tests the columns of a CSV that a model file is checked with, where the header has names that DuckDB changes. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { issueOfColumns } from '../../../cli/sync/check-columns.ts'
import { between, csv, defineModel, direct, number, random, yesNo } from '../../../models/define.ts'
import { projectFolder } from '../../../temporal.config.ts'

const cache = join(projectFolder, 'node_modules', '.cache')
mkdirSync(cache, { recursive: true })
const root = mkdtempSync(join(cache, 'columns-'))
afterAll(() => rmSync(root, { recursive: true }))

async function issueOf(header: string): Promise<string | undefined> {
  const path = join(root, 'rows.csv')
  writeFileSync(path, `${header}\n1,2,yes\n3,4,no\n`)
  const { definition } = defineModel({
    name: 'ships',
    features: { length: number() },
    label: yesNo({ column: 'sunk', positive: 'sunk' }),
    source: csv(relative(projectFolder, path)),
    expect: [between('WIDTH', { min: 0 })],
    split: random({ test: 0.2 }),
    train: () => Promise.reject(new Error('is not called here')),
    evaluation: { floors: { auc: 0.6 }, slices: [{ name: 'wide', where: 'Width > 3' }] },
    release: direct(),
  })
  return issueOfColumns(definition)
}

it('columns are found whatever their case', async () => {
  expect(await issueOf('length,width,sunk')).toBeUndefined()
  expect(await issueOf('length,breadth,sunk')).toContain(
    'there is no column "WIDTH", which expect[0] (between) names',
  )
})

it('columns without a name of their own are left to the snapshot', async () => {
  expect(await issueOf('length,length,sunk')).toBeUndefined()
  expect(await issueOf('length,,sunk')).toBeUndefined()
})
