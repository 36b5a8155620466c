/** Builds versions of tree models in memory. The features are the columns of the model; the golden answers are the library's outputs. */
import { formatOf, type FeatureFit } from '@tenure/predictors'
import { loadVersion, type LoadedVersion } from '../../../api/serving/version/loaded-version.ts'
import type { FeatureRow, Features } from '../../../domain/model/features.ts'
import { broughtFacts, type Manifest } from '../../../domain/model/manifest.ts'
import { readCases } from '../../../packages/predictors/test/support/parity.ts'
import type { Output } from '../../../domain/tasks/output.ts'

export interface TreeVersion {
  manifest: Manifest
  files: Record<string, Buffer>
  rows: FeatureRow[]
  /** One list of outputs per row. */
  answers: number[][]
}

const endings = { LightGBM: 'txt', XGBoost: 'json', CatBoost: 'json' } as Record<string, string>

/** Loads a model of `tree-models.json.gz`, with the rows that a request can carry. */
export async function treeVersion(
  name: string,
  change: (manifest: Manifest) => Manifest = (manifest) => manifest,
): Promise<TreeVersion> {
  const found = readCases().find((each) => each.name === name)!
  const format = formatOf({ artifact: 'trees' })
  const { columns, outputs, library } = await format.inspect(
    { 'model.json': found.bytes },
    { kind: 'number' },
  )
  const file = found.name.includes('ubj') ? 'model.ubj' : `model.${endings[library.split(' ')[0]!]}`
  const sendable = found.rows.flatMap((row, index) =>
    row.every((value) => value === null || (typeof value === 'number' && Math.abs(value) < 1e30))
      ? [index]
      : [],
  )
  const rows = sendable.map((index) =>
    Object.fromEntries(columns.map((column, at) => [column.name, found.rows[index]![at]!])),
  )
  const answers = sendable.map((index) => [found.answers[index]!].flat())
  const numbers: Features = Object.fromEntries(
    columns.map((column) => [column.name, { kind: 'number', missing: 'fill' }]),
  )
  const preprocessing = columns.map((column): FeatureFit => ({
    name: column.name,
    kind: 'number',
    mean: 0,
    std: 1,
    fill: null,
  }))
  const classes = Array.from({ length: outputs }, (_, index) => `class ${index}`)
  const output: Output = outputs > 1 ? { kind: 'classes', classes } : { kind: 'number' }
  const manifest = change({
    format: 'tenure-artifact@1',
    model: 'trees',
    artifact: 'trees',
    library,
    features: numbers,
    featureOrder: columns.map(({ name }) => name),
    output,
    preprocessing,
    files: { [file]: { digest: `sha256:${'0'.repeat(64)}`, bytes: found.bytes.byteLength } },
    golden: { instances: rows.slice(0, 8), outputs: answers.slice(0, 8) },
    training: {
      ...broughtFacts,
      hyperparameters: {},
    },
  })
  return { manifest, files: { [file]: found.bytes }, rows, answers }
}

export const loadTrees = ({ manifest, files }: TreeVersion): LoadedVersion =>
  loadVersion('trees_v1.0.0', manifest, files)
