/**
 * Predicts as the server does, in a browser, in Node or in a worker, from manifest.json, model.json and weights.bin alone.
 * `tenure export` bundles this file with the server's own reader, encoder and activations, so that the numbers are the same.
 *
 *   import { loadPredictor } from './predictor.js'
 *   const predictor = await loadPredictor()
 *   predictor.predict([{ sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }])
 */
import { type FeatureFit, inputWidthOf } from '@tenure/predictors/features'
import { compileReader } from '../../../api/serving/codec/row-reader.ts'
import {
  activationOf,
  compilePredictor,
  isDense,
  layersOf,
  type Network,
  networkOf,
  readModel,
  type ReadModel,
} from '@tenure/predictors/edge'
import type { FeatureRow, Features } from '../../../domain/model/features.ts'
import {
  answerLimits,
  compileCorrection,
  likeliestClass,
  type Output,
  type AnswerField,
  type AnswerForm,
} from '../../../domain/tasks/output.ts'

export type { Feature } from '../../../domain/model/features.ts'
export type EdgeRow = FeatureRow

export interface EdgeManifest {
  format: string
  model: string
  version: string
  features: Features
  output: Output
  answer: AnswerForm
  preprocessing: FeatureFit[]
  golden: { instances: EdgeRow[]; outputs: number[][] }
}

export type Prediction =
  | { probability: number; label: boolean; positive: string }
  | { label: string; probabilities: Record<string, number> }
  | { value: number }
  | { quantiles: Record<string, number> }
  | { values: Record<string, number> }

export interface EdgePredictor {
  model: string
  version: string
  /** Throws an Error with a `code` for a row that does not match the features. */
  predict(rows: EdgeRow[]): Prediction[]
  /** Computes the raw outputs of the network. */
  outputs(row: EdgeRow): Float32Array
  /** Returns the number of golden rows, and the largest difference from their outputs. */
  checkGolden(): { rows: number; worst: number }
}

type Run = (input: Float32Array) => Float32Array

const format = 'tenure-edge@1'
/** Tolerance of a golden output, as on the server: absolute up to 1, relative above. */
const tolerance = 1e-5

function refuse(code: string, message: string): never {
  throw Object.assign(new Error(message), { code })
}

/** Loads the files beside this module, or from another base URL, and checks the golden rows. */
export async function loadPredictor(base: string | URL = import.meta.url): Promise<EdgePredictor> {
  const [manifest, model, weights] = await Promise.all(
    ['manifest.json', 'model.json', 'weights.bin'].map((name) => read(new URL(name, base))),
  )
  return createPredictor({ manifest: parse(manifest!), model: parse(model!), weights: weights! })
}

async function read(url: URL): Promise<ArrayBuffer> {
  if (url.protocol === 'file:') {
    // Imported by a variable that bundlers do not follow, because browsers have no file system.
    const name = 'node:fs/promises'
    const { readFile } = (await import(name)) as { readFile: (url: URL) => Promise<Uint8Array> }
    return Uint8Array.from(await readFile(url)).buffer
  }
  const response = await fetch(url)
  if (!response.ok) refuse('unreachable', `${url.href} responded with ${response.status}`)
  return response.arrayBuffer()
}

const parse = <T>(bytes: ArrayBuffer): T => JSON.parse(new TextDecoder().decode(bytes)) as T

export function createPredictor(files: {
  manifest: EdgeManifest
  model: object
  weights: ArrayBuffer
}): EdgePredictor {
  const { manifest } = files
  if (manifest.format !== format)
    refuse('artifact_invalid', `the manifest has the format ${manifest.format}, not ${format}`)
  const topology = new TextEncoder().encode(JSON.stringify(files.model))
  const network = denseNetworkOf(readModel(topology, new Uint8Array(files.weights)))
  const { width, encode } = createEncoder(manifest)
  if (network.inputs !== width)
    refuse('artifact_invalid', `the network takes ${network.inputs} numbers, the features give ${width}`)
  const single = corrected(compileSingle(network), manifest, network.outputs)
  // Sums of very many terms may need more than 32 bits. The server makes the same choice.
  const run =
    worstOf(manifest, encode, single) <= tolerance
      ? single
      : corrected(compileDouble(network), manifest, network.outputs)
  const worst = worstOf(manifest, encode, run)
  if (!(worst <= tolerance)) refuse('artifact_invalid', `the golden rows are off by ${worst}`)
  return {
    model: manifest.model,
    version: manifest.version,
    predict: (rows) => {
      const inputs = rows.map((row, index) => encode(row, index))
      return inputs.map((input, index) => predictionOf(manifest.answer, run(input), index))
    },
    outputs: (row) => run(encode(row)),
    checkGolden: () => ({ rows: manifest.golden.instances.length, worst: worstOf(manifest, encode, run) }),
  }
}

function denseNetworkOf(read: ReadModel): Network {
  if (isDense(read)) return networkOf(read)
  const { kind, layers } = layersOf(read.model)
  refuse(
    'layer_unknown',
    `this predictor does not compute a ${kind} of ${[...new Set(layers.map((layer) => layer.kind))].join(', ')}. ` +
      `Load model.json with TensorFlow.js instead (tf.loadLayersModel), and feed it with what createEncoder(manifest).encode(row) returns.`,
  )
}

type Encode = (row: EdgeRow, index?: number) => Float32Array

/** Encodes rows; also for use with TensorFlow.js if the network has layers that this file does not compute. */
export function createEncoder(manifest: Pick<EdgeManifest, 'features' | 'preprocessing'>): {
  width: number
  encode: Encode
} {
  const { features, preprocessing } = manifest
  const width = inputWidthOf(preprocessing)
  const readRow = compileReader(features, preprocessing)
  return {
    width,
    encode(row, index = 0) {
      const input = new Float32Array(width)
      readRow(row, index, input, 0)
      return input
    },
  }
}

function worstOf({ golden }: EdgeManifest, encode: Encode, run: Run): number {
  let worst = 0
  golden.instances.forEach((row, index) => {
    const found = run(encode(row, index))
    golden.outputs[index]!.forEach((expected, j) => {
      const off = Math.abs(found[j]! - expected) / Math.max(1, Math.abs(expected))
      worst = Number.isFinite(off) ? Math.max(worst, off) : Infinity
    })
  })
  return worst
}

/**
 * Computes in 32 bits without WebAssembly, which a page's content security policy may forbid. Rounds each product and sum in the order of
 * the server's SIMD loops, so that the results are bit-identical.
 */
function compileSingle(network: Network): Run {
  const steps = network.layers.map((layer, index) => ({
    ...layer,
    activate: activationOf(layer.activations, index),
  }))
  return (input) => {
    let values = input
    for (const { inputs, units, kernel, bias, activate } of steps) {
      const sums = Float32Array.from(bias)
      for (let i = 0; i < inputs; i++)
        for (let j = 0; j < units; j++) sums[j] = sums[j]! + Math.fround(values[i]! * kernel[i * units + j]!)
      activate?.(sums, 0, units)
      values = sums
    }
    return values
  }
}

function compileDouble(network: Network): Run {
  const predictor = compilePredictor(network)
  return (input) => {
    const output = new Float32Array(network.outputs)
    predictor.run(input, 1, output)
    return output
  }
}

/** Corrects outputs as the server does. */
function corrected(run: Run, { answer }: EdgeManifest, width: number): Run {
  const correct = compileCorrection(answer, width)
  if (correct === undefined) return run
  return (input) => {
    const outputs = run(input)
    correct(outputs, 1)
    return outputs
  }
}

function predictionOf({ fields, noun, range }: AnswerForm, outputs: Float32Array, index: number): Prediction {
  const { min, max } = answerLimits(range)
  for (const value of outputs)
    if (!(value >= min && value <= max))
      refuse('output_invalid', `the prediction of instance ${index} is the ${noun} ${value}`)
  return Object.fromEntries(fields.map((field) => [field.field, valueOf(field, outputs)])) as Prediction
}

function valueOf(
  field: AnswerField,
  outputs: Float32Array,
): number | boolean | string | Record<string, number> {
  switch (field.is) {
    case 'number':
      return outputs[0]!
    case 'numbers':
      return Object.fromEntries(field.names.map((name, i) => [name, outputs[i]!]))
    case 'flag':
      return outputs[0]! >= field.threshold
    case 'name':
      return field.names[likeliestClass(outputs)]!
    case 'text':
      return field.text
  }
}
