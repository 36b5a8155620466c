/** Writes the artifact of a trained network: its files, and the manifest with its inputs, outputs and golden rows. */
import type { LayersModel } from '@tensorflow/tfjs'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { DomainError } from '../../domain/errors.ts'
import { inputWidthOf, type FeatureFit, type FeatureRow, type Output } from '../../domain/model/features.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { compileEncoder } from '../../domain/model/preprocessing.ts'
import {
  categoryProfile,
  numberProfile,
  type ReferenceProfile,
} from '../../domain/model/reference-profile.ts'
import { putManifest, type Artifacts } from '../../store/artifacts.ts'
import { outputsOf, type LabelledRows } from '../data/rows.ts'
import { answersOf, saveNetwork, type Tensorflow } from './tfjs.ts'

const goldenRows = 8
/** Rows for the score profile; enough for its deciles. */
const scoredRows = 20_000

export interface Trained {
  definition: ModelDefinition
  network: LayersModel
  fits: FeatureFit[]
  data: LabelledRows
  training: Manifest['training']
}

/** Stores the files and the manifest and returns the manifest's digest. Throws `artifact_invalid` for a network that cannot serve. */
export async function storeArtifact(tf: Tensorflow, artifacts: Artifacts, trained: Trained): Promise<string> {
  const { definition, network, fits, data, training } = trained
  const encoder = compileEncoder(definition.features, fits)
  const inputs = inputWidthOf(fits)
  checkShape(network, { inputs, outputs: outputsOf(definition.label.output) })
  const answer = (rows: readonly FeatureRow[]) =>
    answersOf(tf, network, {
      rows: rows.length,
      inputs,
      encode: (row, into, offset) => encoder(rows[row] ?? {}, into, offset),
    })
  const files = await saveNetwork(tf, network)
  const instances = definition.golden.length > 0 ? definition.golden : chooseGolden(definition, data.rows)
  const outputs = answer(instances)
  checkAnswers(definition, outputs)
  return putManifest(artifacts, {
    format: 'tenure-artifact@1',
    model: definition.name,
    features: definition.features,
    output: definition.label.output,
    preprocessing: fits,
    files: {
      'model.json': await artifacts.put('artifacts', files['model.json']),
      'weights.bin': await artifacts.put('artifacts', files['weights.bin']),
    },
    golden: { instances, outputs },
    profile: profileOf(definition, data, answer(spread(data.rows, scoredRows))),
    training,
  })
}

function checkShape(network: LayersModel, wanted: { inputs: number; outputs: number }): void {
  // Model files are not type-checked when loaded, so a missing `return` shows here.
  if (!Array.isArray((network as LayersModel | undefined)?.inputs))
    throw new DomainError('artifact_invalid', '`train` must return a network')
  const [input, output] = [network.inputs[0]?.shape ?? [], network.outputs[0]?.shape ?? []]
  const found = { inputs: Number(input[1]), outputs: Number(output[1]) }
  const ranks = [input.length, output.length]
  if (network.inputs.length !== 1 || network.outputs.length !== 1 || ranks.some((rank) => rank !== 2))
    throw new DomainError(
      'artifact_invalid',
      'the network must have one input and one output, each a list of numbers per row',
    )
  if (found.inputs !== wanted.inputs || found.outputs !== wanted.outputs)
    throw new DomainError(
      'artifact_invalid',
      `the network is ${found.inputs} → ${found.outputs} numbers wide, its features and label are ${wanted.inputs} → ${wanted.outputs}`,
    )
}

/** Checks that outputs are valid; otherwise only requests in production would show it. */
function checkAnswers({ label: { output } }: ModelDefinition, answers: readonly number[][]): void {
  const expected = {
    number: 'finite number',
    probability: 'probability',
    classes: 'softmax over the classes',
  }
  for (const answer of answers)
    if (!isAnswer(output, answer))
      throw new DomainError(
        'artifact_invalid',
        `the network returns [${answer.join(', ')}], expected a ${expected[output.kind]}`,
      )
}

function isAnswer({ kind }: Output, answer: readonly number[]): boolean {
  if (kind === 'number') return answer.every(Number.isFinite)
  if (!answer.every((value) => value >= 0 && value <= 1)) return false
  return kind === 'probability' || Math.abs(answer.reduce((sum, value) => sum + value, 0) - 1) < 1e-4
}

/** Rows evenly spread over the training rows, and one with every optional value missing. */
function chooseGolden({ features }: ModelDefinition, rows: readonly FeatureRow[]): FeatureRow[] {
  const chosen = spread(rows, goldenRows)
  const fillable = Object.entries(features).filter(([, feature]) => feature.missing === 'fill')
  const first = chosen[0]
  if (first === undefined || fillable.length === 0) return chosen
  return [...chosen, { ...first, ...Object.fromEntries(fillable.map(([name]) => [name, null])) }]
}

function spread<T>(items: readonly T[], most: number): T[] {
  const count = Math.min(most, items.length)
  return Array.from({ length: count }, (_, index) => items[Math.floor((index * items.length) / count)] as T)
}

function profileOf(
  { features, label, monitor }: ModelDefinition,
  data: LabelledRows,
  scores: number[][],
): ReferenceProfile {
  const { output } = label
  const valuesOr = <T>(values: readonly unknown[], as: (value: unknown) => T) =>
    values.map((value) => (value === null ? null : as(value)))
  const numbers = (name: string, values: readonly unknown[]) => numberProfile(name, valuesOr(values, Number))
  const texts = (name: string, values: readonly unknown[]) => categoryProfile(name, valuesOr(values, String))
  const bestClass = (answer: number[], classes: readonly string[]) =>
    classes[answer.indexOf(Math.max(...answer))] ?? null
  const score =
    output.kind === 'classes'
      ? texts(
          'score',
          scores.map((answer) => bestClass(answer, output.classes)),
        )
      : numbers(
          'score',
          scores.map(([value]) => value ?? null),
        )
  return {
    rows: data.rows.length,
    everyMs: monitor?.countMs,
    features: Object.entries(features).map(([name, feature]) => {
      const values = data.rows.map((row) => row[name] ?? null)
      return feature.kind === 'number' ? numbers(name, values) : texts(name, values)
    }),
    score,
    // The deciles of a rare class are all 0; compared as a number it could grow tenfold within its bin.
    label:
      output.kind === 'number'
        ? numbers('label', data.labels)
        : texts('label', output.kind === 'classes' ? data.labels : data.labels.map(Number)),
  }
}
