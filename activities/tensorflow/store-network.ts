/** Stores a trained network of TensorFlow.js as an artifact. */
import type { LayersModel } from '@tensorflow/tfjs'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { DomainError } from '../../domain/errors.ts'
import { outputWidth, inputWidthOf, type FeatureFit } from '../../domain/model/features.ts'
import type { TrainingFacts } from '../../domain/model/manifest.ts'
import { compileEncoder } from '../../domain/model/preprocessing.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import { storeArtifact } from '../artifact/write-artifact.ts'
import { type LabelledRows } from '../data/rows.ts'
import { answerLists, answersOf, saveNetwork, type Tensorflow } from './tfjs.ts'

export interface TrainedNetwork {
  definition: ModelDefinition
  network: LayersModel
  fits: FeatureFit[]
  data: LabelledRows
  training: TrainingFacts
}

/** Stores the files and the manifest and returns the manifest's digest. Throws `artifact_invalid` for a network that cannot serve. */
export async function storeNetwork(
  tf: Tensorflow,
  artifacts: Artifacts,
  { network, ...trained }: TrainedNetwork,
): Promise<string> {
  const { definition, fits } = trained
  const encoder = compileEncoder(definition.features, fits)
  const inputs = inputWidthOf(fits)
  checkShape(network, { inputs, outputs: outputWidth(definition.label.output) })
  const files = await saveNetwork(tf, network)
  return storeArtifact(artifacts, {
    ...trained,
    files: {
      'model.json': await artifacts.put('artifacts', files['model.json']),
      'weights.bin': await artifacts.put('artifacts', files['weights.bin']),
    },
    answer: (rows) =>
      answerLists(
        answersOf(tf, network, {
          rows: rows.length,
          inputs,
          encode: (row, into, offset) => encoder(rows[row] ?? {}, into, offset),
        }),
      ),
  })
}

function checkShape(network: LayersModel, expected: { inputs: number; outputs: number }): void {
  // Model files are not type-checked when loaded, so a missing `return` is found here.
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
  if (found.inputs !== expected.inputs || found.outputs !== expected.outputs)
    throw new DomainError(
      'artifact_invalid',
      `the network is ${found.inputs} → ${found.outputs} numbers wide, its features and label are ${expected.inputs} → ${expected.outputs}${expected.outputs === 1 && found.outputs > 1 ? ': several numbers a row are quantities([…]), quantiles of one are quantiles([…])' : ''}`,
    )
}
