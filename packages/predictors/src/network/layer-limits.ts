/**
 * Checks models with layers other than dense ones before TensorFlow.js loads them. TensorFlow.js would allocate and initialize a layer of a
 * billion units before it finds that the weights do not fit.
 */
import { refuse } from '../errors.ts'
import { networkLimits } from './network-limits.ts'
import {
  isRowShape,
  layersOf,
  objectOf,
  refuseShape,
  type JsonObject,
  type LayerConfig,
  type ReadModel,
} from './layers-model.ts'

/** The model in the form that TensorFlow.js loads. */
export interface LayeredModel {
  inputs: number
  modelTopology: object
  specs: { name: string; shape: number[]; dtype: 'float32' }[]
  weights: Uint8Array<ArrayBuffer>
}

/** Layers whose outputs depend only on their own row. */
const served = new Set(
  `InputLayer Dense Activation Dropout SpatialDropout1D GaussianNoise GaussianDropout AlphaDropout
   ReLU LeakyReLU PReLU ELU ThresholdedReLU Softmax BatchNormalization LayerNormalization
   Flatten Reshape Permute RepeatVector Masking Embedding
   Conv1D Conv2D SeparableConv2D DepthwiseConv2D Cropping2D UpSampling2D ZeroPadding2D
   MaxPooling1D AveragePooling1D MaxPooling2D AveragePooling2D
   GlobalAveragePooling1D GlobalMaxPooling1D GlobalAveragePooling2D GlobalMaxPooling2D
   SimpleRNN GRU LSTM Bidirectional TimeDistributed
   Add Multiply Average Maximum Minimum Concatenate Dot`.split(/\s+/),
)
/** Layers that wrap another one. */
const wrappers = new Set(['Bidirectional', 'TimeDistributed'])
const modelKinds = new Set(['Sequential', 'Model', 'Functional'])
/** The maximum of any size in the configuration of a layer. */
const maxSize = 65_536
const deepest = 12
const forbidden = new Set(['__proto__', 'constructor', 'prototype'])

/** Returns the checked model. Throws `artifact_invalid` with the layer and what is wrong with it. */
export function layeredModelOf({ model, named }: ReadModel): LayeredModel {
  const { kind, config, layers } = layersOf(model)
  if (!modelKinds.has(kind))
    refuse(`the model is of the type ${kind}; ${[...modelKinds].join(', ')} are served`)
  if (layers.length === 0) refuse('the model has no layers')
  expectShallow(config)
  for (const layer of layers) checkLayer(layer)
  const names = layers.map(({ name }) => name)
  if (new Set(names).size < names.length) refuse('two layers have the same name')
  return {
    inputs: inputOf(kind, config, layers),
    modelTopology: { class_name: kind === 'Functional' ? 'Model' : kind, config: prepared(config) as object },
    specs: [...named].map(([name, { shape }]) => ({ name, shape, dtype: 'float32' })),
    weights: joined([...named.values()].map(({ values }) => values)),
  }
}

function joined(parts: readonly Float32Array[]): Uint8Array<ArrayBuffer> {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return new Uint8Array(all.buffer)
}

function checkLayer({ kind, name, config }: LayerConfig): void {
  if (!served.has(kind)) refuse(`layer ${name} is of the type ${kind}, which is not served`)
  const { dtype, layer } = config
  if (dtype !== undefined && dtype !== null && dtype !== 'float32' && dtype !== 'int32')
    refuse(`layer ${name} is of the type ${JSON.stringify(dtype)}; float32 is served`)
  if (config['stateful'] === true)
    refuse(`layer ${name} is stateful: its outputs would depend on earlier requests`)
  for (const [key, value] of Object.entries(config))
    if (key !== 'layer') checkSizes(value, `${key} of layer ${name}`)
  if (!wrappers.has(kind)) return
  const inner = objectOf(layer, `the layer in ${name}`)
  const innerKind = String(inner['class_name'])
  if (wrappers.has(innerKind)) refuse(`layer ${name} wraps a layer that wraps another`)
  checkLayer({
    kind: innerKind,
    name: `in ${name}`,
    config: objectOf(inner['config'], `the config in ${name}`),
  })
}

function checkSizes(value: unknown, what: string): void {
  if (typeof value === 'number' && !(Math.abs(value) <= maxSize))
    refuse(`${what} is ${value}, more than ${maxSize}`)
  if (what.startsWith('units of') && typeof value === 'number' && value > networkLimits.units)
    refuse(`${what} is ${value}, more than ${networkLimits.units}`)
  if (typeof value === 'object' && value !== null)
    for (const each of Object.values(value)) checkSizes(each, what)
}

/** Throws for a deeply nested topology. Works without recursion, which would overflow the stack. */
function expectShallow(config: unknown): void {
  let level: unknown[] = [config]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > deepest) refuse(`the topology is nested more than ${deepest} levels deep`)
    const next: unknown[] = []
    for (const each of level) {
      if (typeof each !== 'object' || each === null) continue
      for (const [key, value] of Object.entries(each)) {
        if (forbidden.has(key)) refuse(`the topology has a field ${key}`)
        if (typeof value === 'object' && value !== null) next.push(value)
      }
    }
    level = next
  }
}

/** Returns the configuration without the parts for training. Weights start as zeros, which take no memory until they are set. */
function prepared(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(prepared)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      if (key.endsWith('_initializer') && inner !== null) return [key, { class_name: 'Zeros', config: {} }]
      if (/_(regularizer|constraint)$/.test(key)) return [key, null]
      return [key, prepared(inner)]
    }),
  )
}

/** Returns the width of the single input, which must be rows of numbers. */
function inputOf(kind: string, config: unknown, layers: readonly LayerConfig[]): number {
  const [first] = layers
  let input = first?.config
  if (kind !== 'Sequential') {
    const { input_layers: inputs, output_layers: outputs } = config as JsonObject
    if (!Array.isArray(inputs) || inputs.length !== 1) refuse('the model has not exactly one input')
    if (!Array.isArray(outputs) || outputs.length !== 1) refuse('the model has not exactly one output')
    const name: unknown = Array.isArray(inputs[0]) ? inputs[0][0] : undefined
    input = layers.find((layer) => layer.name === name)?.config
  }
  const shape = input?.['batch_input_shape'] ?? input?.['batchInputShape']
  if (!isRowShape(shape) || shape[0] !== null) refuseShape(shape)
  return shape[1]
}
