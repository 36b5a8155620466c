/** Tests that the process of model files makes smaller files of XGBoost and CatBoost, under the name of what is written, that answer alike. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { formatOf } from '@tenure/predictors'
import { openArtifactReader, type ArtifactReader } from '../../../activities/artifact/reader.ts'
import type { FeatureRow, Features } from '../../../domain/model/features.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import { openArtifacts, type Artifacts } from '../../../store/artifacts.ts'
import { readCases } from '../../../packages/predictors/test/support/parity.ts'

let root: string
let artifacts: Artifacts
let reader: ArtifactReader
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tenure-compress-'))
  artifacts = openArtifacts(root)
  reader = openArtifactReader(root)
})
afterAll(async () => {
  await reader.close()
  rmSync(root, { recursive: true })
})

it.each([
  ['xgboost-binary-0', 'model.json', 'model.ubj'],
  ['xgboost-binary-ubj-0', 'model.ubj', 'model.ubj'],
  ['catboost-binary-0', 'model.json', 'model.json'],
])('%s as %s becomes %s', async (name, parentFile, childFile) => {
  const { bytes, rows } = readCases().find((each) => each.name === name)!
  const output: Output = { kind: 'probability', positive: 'yes', threshold: 0.5 }
  const facts = await formatOf({ artifact: 'trees' }).inspect({ [parentFile]: bytes }, output)
  const columns = facts.columns.map((column) => column.name)
  const features: Features = Object.fromEntries(
    columns.map((column) => [column, { kind: 'number' as const }]),
  )
  const files = { [parentFile]: await artifacts.put('artifacts', bytes) }
  const { artifact, fits } = await reader.bind({ files, features, output })
  const manifest = { artifact, files, features, output, preprocessing: fits }
  const asked = rows.map((row): FeatureRow =>
    Object.fromEntries(
      columns.map((column, at) => [column, Number.isFinite(row[at]) ? (row[at] as number) : null]),
    ),
  )
  const lossless = await reader.compress(manifest, { to: 'lossless', meanDifference: 0.01 }, asked)
  expect(Object.keys(lossless.files)).toEqual([childFile])
  expect(lossless).toMatchObject({ rawBound: 0, answerBound: 0 })
  expect(lossless.bytes!.child).toBeLessThan(lossless.bytes!.parent)
  const answers = await reader.answer(manifest, asked)
  expect(await reader.answer({ ...manifest, files: lossless.files }, asked)).toEqual(answers)
  const fewer = await reader.compress(manifest, { to: 'fewer-trees', meanDifference: 0.2 }, asked)
  expect(fewer.counts['trees']!.child).toBeLessThan(fewer.counts['trees']!.parent)
  const others = await reader.answer({ ...manifest, files: fewer.files }, asked)
  const mean = others.reduce((sum, [value], at) => sum + Math.abs(value! - answers[at]![0]!), 0) / rows.length
  expect(mean).toBeLessThanOrEqual(0.2)
})
