/**
 * Reads a tfjs LayersModel (model.json and weights.bin) into dense layers, and refuses unsupported models with the reason. tfjs itself
 * would give random weights to a model without weights, accept NaN weights, and read any file that the manifest names.
 */
import { refuse } from '../errors.ts'
import { maxDepth, measureJson } from '../json.ts'
import { halfOfBits } from '../half.ts'
import { networkLimits } from './network-limits.ts'
import { affineOf, asDenseLayer, foldBefore, foldAfter, type Affine, type DenseLayer } from './batch-norm.ts'

export interface Network {
  inputs: number
  outputs: number
  layers: DenseLayer[]
}

/** The layers of a compiled network. */
const denseKinds = new Set([
  'InputLayer',
  'Dropout',
  'GaussianNoise',
  'GaussianDropout',
  'Dense',
  'Activation',
  'BatchNormalization',
])
/** The maximum width of a normalization that cannot be folded, because it becomes a square matrix of weights. */
const maxNormalised = 512

export type JsonObject = Record<string, unknown>

export interface Weight {
  values: Float32Array
  shape: number[]
}

/** A model whose bytes are checked, but whose layers are not. */
export interface ReadModel {
  model: JsonObject
  /** The weights by name, in the order of the bytes. */
  named: Map<string, Weight>
}

/** Reads a dense network. Throws `artifact_invalid` with the layer and what is wrong with it. */
export function readNetwork(topology: Uint8Array, weights: Uint8Array): Network {
  return networkOf(readModel(topology, weights))
}

/** Parses and checks the bytes of a model with any layers. Throws `artifact_invalid`. */
export function readModel(topology: Uint8Array, weights: Uint8Array): ReadModel {
  if (topology.byteLength > networkLimits.topologyBytes)
    refuse(`model.json has ${topology.byteLength} bytes, more than ${networkLimits.topologyBytes}`)
  if (weights.byteLength > networkLimits.weightBytes)
    refuse(`weights.bin has ${weights.byteLength} bytes, more than ${networkLimits.weightBytes}`)
  const model = parse(topology)
  return { model, named: readWeights(model['weightsManifest'], weights) }
}

/** Whether the model is a sequence of layers that can be compiled. */
export function isDense({ model }: ReadModel): boolean {
  const { kind, layers } = layersOf(model)
  if (kind !== 'Sequential' || !layers.every((layer) => denseKinds.has(layer.kind))) return false
  const normalises = layers.some((layer) => layer.kind === 'BatchNormalization')
  return !normalises || layers.every(({ config }) => !(Number(config['units']) > maxNormalised))
}

/** Returns the layers of a dense network. Throws `artifact_invalid`. */
export function networkOf({ model, named: all }: ReadModel): Network {
  const named = new Map(all)
  const layers: DenseLayer[] = []
  let width: number | undefined
  /** A normalization that is not folded into a layer yet. */
  let pending: Affine | undefined
  const settle = (): void => {
    if (pending !== undefined) layers.push(asDenseLayer(pending))
    pending = undefined
  }
  for (const { kind, name, config } of readLayers(model)) {
    width ??= inputWidth(config)
    switch (kind) {
      case 'InputLayer':
      case 'Dropout':
      case 'GaussianNoise':
      case 'GaussianDropout':
        break
      case 'Dense': {
        if (width === undefined) refuse(`the input width is not given before layer ${name}`)
        const layer = readDense(name, config, width, named)
        layers.push(pending === undefined ? layer : foldBefore(layer, pending))
        pending = undefined
        width = layer.units
        break
      }
      case 'BatchNormalization': {
        if (width === undefined) refuse(`the input width is not given before layer ${name}`)
        if (width > maxNormalised)
          refuse(`layer ${name} normalises ${width} numbers, more than ${maxNormalised}`)
        settle()
        const affine = readNormalisation(name, config, width, named)
        const last = layers.at(-1)
        if (last?.activations.every((each) => each === 'linear') === true)
          layers.splice(-1, 1, foldAfter(last, affine))
        else pending = affine
        break
      }
      case 'Activation': {
        settle()
        const last = layers.at(-1)
        if (last === undefined) refuse(`layer ${name}: an activation comes before the first dense layer`)
        last.activations.push(textOf(config['activation'], `layer ${name}: the activation`))
        break
      }
      default:
        refuse(`layer ${name} is of the type ${kind}; dense feed-forward networks are served`)
    }
  }
  settle()
  const [first, last] = [layers[0], layers.at(-1)]
  if (first === undefined || last === undefined) refuse('the network has no dense layer')
  if (named.size > 0) refuse(`weights of no layer: ${[...named.keys()].slice(0, 5).join(', ')}`)
  return { inputs: first.inputs, outputs: last.units, layers }
}

function readDense(name: string, config: JsonObject, inputs: number, named: Map<string, Weight>): DenseLayer {
  const units = config['units']
  if (typeof units !== 'number' || !Number.isInteger(units) || units < 1 || units > networkLimits.units)
    refuse(`layer ${name} has ${String(units)} units; 1 to ${networkLimits.units} are served`)
  return {
    inputs,
    units,
    kernel: takeWeights(named, name, 'kernel', [inputs, units]),
    bias: config['use_bias'] === false ? new Float32Array(units) : takeWeights(named, name, 'bias', [units]),
    activations: [textOf(config['activation'] ?? 'linear', `layer ${name}: the activation`)],
  }
}

function readNormalisation(
  name: string,
  config: JsonObject,
  width: number,
  named: Map<string, Weight>,
): Affine {
  const { axis, epsilon = 1e-3 } = config
  if (axis !== undefined && axis !== -1 && axis !== 1)
    refuse(`layer ${name} normalises along ${JSON.stringify(axis)}, not along its numbers`)
  if (typeof epsilon !== 'number' || !(epsilon > 0 && epsilon < 1)) refuse(`layer ${name} has no epsilon`)
  const take = (part: string): Float32Array => takeWeights(named, name, part, [width])
  const variance = take('moving_variance')
  if (!variance.every((value) => value >= 0)) refuse(`layer ${name} has a negative variance`)
  return affineOf({
    gamma: config['scale'] === false ? undefined : take('gamma'),
    beta: config['center'] === false ? undefined : take('beta'),
    mean: take('moving_mean'),
    variance,
    epsilon,
  })
}

/** Removes the weights of a layer from the map, so that only weights without a layer remain at the end. */
function takeWeights(named: Map<string, Weight>, name: string, part: string, shape: number[]): Float32Array {
  const found = named.get(`${name}/${part}`)
  if (found === undefined) refuse(`layer ${name} has no weights ${name}/${part}`)
  if (found.shape.length !== shape.length || found.shape.some((size, i) => size !== shape[i]))
    refuse(`${name}/${part} has the shape [${found.shape.join(', ')}], not [${shape.join(', ')}]`)
  named.delete(`${name}/${part}`)
  return found.values
}

export interface LayerConfig {
  kind: string
  name: string
  config: JsonObject
}

/** Returns the layers of a Sequential model, in order. */
function readLayers(model: JsonObject): LayerConfig[] {
  const { kind, layers } = layersOf(model)
  if (kind !== 'Sequential') refuse(`the model is of the type ${kind}; Sequential is compiled`)
  return layers
}

/** Returns the kind of a model and its layers. Throws `artifact_invalid`. */
export function layersOf(model: JsonObject): { kind: string; config: unknown; layers: LayerConfig[] } {
  const topology = objectOf(model['modelTopology'], 'modelTopology')
  const root = objectOf(topology['model_config'] ?? topology, 'modelTopology')
  const config = root['config']
  const list = Array.isArray(config) ? config : objectOf(config, 'modelTopology.config')['layers']
  if (!Array.isArray(list)) refuse('modelTopology.config.layers is not a list')
  if (list.length > networkLimits.layers)
    refuse(`the model has ${list.length} layers, more than ${networkLimits.layers}`)
  const layers = list.map((each, index) => {
    const layer = objectOf(each, `layer ${index}`)
    const inner = objectOf(layer['config'], `layer ${index}: its config`)
    return {
      kind: textOf(layer['class_name'], `layer ${index}: its class_name`),
      name: textOf(inner['name'], `layer ${index}: its name`),
      config: inner,
    }
  })
  return { kind: String(root['class_name']), config, layers }
}

/** Returns every weight by its name. The weights must cover the bytes exactly. */
function readWeights(manifest: unknown, bytes: Uint8Array): Map<string, Weight> {
  if (!Array.isArray(manifest) || manifest.length !== 1) refuse('weightsManifest is not a list of one group')
  const { paths, weights: entries } = objectOf(manifest[0], 'weightsManifest[0]')
  // No file is opened here. Another name would refer to weights outside the artifact.
  if (!Array.isArray(paths) || paths.length !== 1 || paths[0] !== 'weights.bin')
    refuse(`weightsManifest[0].paths is ${JSON.stringify(paths)?.slice(0, 80)}, not ["weights.bin"]`)
  if (!Array.isArray(entries)) refuse('weightsManifest[0].weights is not a list')
  const named = new Map<string, Weight>()
  let at = 0
  /** The bytes in memory. */
  let held = 0
  for (const each of entries) {
    const entry = objectOf(each, 'a weight')
    const name = textOf(entry['name'], 'the name of a weight')
    const shape = entry['shape']
    if (entry['dtype'] !== 'float32') refuse(`${name} is not of the type float32`)
    const { bytes: width, widen } = storageOf(name, entry['quantization'])
    if (!Array.isArray(shape) || !shape.every((size) => Number.isInteger(size) && size > 0))
      refuse(`${name} has no shape of whole numbers`)
    if (named.has(name)) refuse(`${name} stands twice`)
    const count = shape.reduce((product: number, size: number) => product * size, 1)
    if (at + count * width > bytes.byteLength)
      refuse(`weights.bin has ${bytes.byteLength} bytes and ends within ${name}`)
    held += count * 4
    if (held > networkLimits.weightBytes)
      refuse(`the weights have more than ${networkLimits.weightBytes} bytes of 32 bits each`)
    // A copy, because the slice of a Buffer shares its memory and may be unaligned.
    const values = widen(Uint8Array.prototype.slice.call(bytes, at, at + count * width).buffer as ArrayBuffer)
    if (!areFinite(values)) {
      const odd = values.findIndex((value) => !Number.isFinite(value))
      refuse(`${name} holds ${values[odd]} at place ${odd}`)
    }
    named.set(name, { values, shape: shape as number[] })
    at += count * width
  }
  if (at !== bytes.byteLength) refuse(`weights.bin has ${bytes.byteLength} bytes, its weights are ${at}`)
  return named
}

/** How a weight is stored: in 32 bits, or in fewer as `quantization` says, which TensorFlow.js widens to the same numbers. */
function storageOf(
  name: string,
  quantization: unknown,
): { bytes: number; widen: (stored: ArrayBuffer) => Float32Array } {
  if (quantization === undefined) return { bytes: 4, widen: (stored) => new Float32Array(stored) }
  const { dtype, min, scale } = objectOf(quantization, `the quantization of ${name}`)
  if (dtype === 'float16')
    return { bytes: 2, widen: (stored) => Float32Array.from(new Uint16Array(stored), halfOfBits) }
  const Stored = dtype === 'uint8' ? Uint8Array : dtype === 'uint16' ? Uint16Array : undefined
  if (Stored === undefined)
    refuse(`${name} is quantized to ${JSON.stringify(dtype)}; float16, uint8 and uint16 are read`)
  if (typeof min !== 'number' || typeof scale !== 'number')
    refuse(`${name} is quantized to ${String(dtype)} without the numbers min and scale`)
  return {
    bytes: Stored.BYTES_PER_ELEMENT,
    widen: (stored) => Float32Array.from(new Stored(stored), (value) => value * scale + min),
  }
}

/**
 * Whether all values are finite. A number minus itself is 0 only if it is finite; calling a function for each of two million weights would
 * block the process.
 */
function areFinite(values: Float32Array): boolean {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]! - values[i]!
  return sum === 0
}

function inputWidth(config: JsonObject): number | undefined {
  const shape = config['batch_input_shape'] ?? config['batchInputShape']
  if (shape === undefined) return undefined
  if (!isRowShape(shape)) refuseShape(shape)
  return shape[1]
}

/** Whether this is the shape of rows of numbers. */
export const isRowShape = (shape: unknown): shape is [batch: unknown, width: number] =>
  Array.isArray(shape) && shape.length === 2 && Number.isInteger(shape[1]) && shape[1] >= 1

export function refuseShape(shape: unknown): never {
  refuse(`the input has the shape ${JSON.stringify(shape)}; rows of numbers are served`)
}

function parse(bytes: Uint8Array): JsonObject {
  if (measureJson(bytes).excess === 'depth') refuse(`model.json is nested more than ${maxDepth} levels deep`)
  try {
    return objectOf(JSON.parse(new TextDecoder().decode(bytes)), 'model.json')
  } catch (error) {
    if (error instanceof SyntaxError) refuse(`model.json does not parse: ${error.message}`)
    throw error
  }
}

export function objectOf(value: unknown, what: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(`${what} is not an object`)
  return value as JsonObject
}

function textOf(value: unknown, what: string): string {
  return typeof value === 'string' ? value : refuse(`${what} is not a text`)
}
