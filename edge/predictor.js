// @ts-check
/**
 * Answers like the server, in a browser, in Node or in a worker, with nothing but this file and the three beside it:
 * manifest.json, model.json and weights.bin. Its numbers are those of the server to the last bit: it rounds where the server
 * rounds. What it does not know it refuses by name; a guess would be a wrong number of the right shape.
 *
 *   import { loadPredictor } from './predictor.js'
 *   const predictor = await loadPredictor()
 *   predictor.predict([{ sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }])
 */

/** @typedef {Record<string, number | string | null>} Row */
/** @typedef {{ kind: 'number', missing?: 'fill' } | { kind: 'category', missing?: 'fill', values?: string[] }} Feature */
/**
 * @typedef {{ name: string, kind: 'number', mean: number, std: number, fill: number }
 *   | { name: string, kind: 'category', vocabulary: string[] }} Fit
 */
/**
 * @typedef {{ kind: 'probability', positive: string, threshold: number } | { kind: 'classes', classes: string[] }
 *   | { kind: 'number', min?: number, max?: number }} Output
 */
/**
 * @typedef {object} Manifest
 * @property {string} format
 * @property {string} model
 * @property {string} version
 * @property {Record<string, Feature>} features
 * @property {Output} output
 * @property {Fit[]} preprocessing
 * @property {{ instances: Row[], outputs: number[][] }} golden
 */
/** @typedef {{ inputs: number, units: number, kernel: Float32Array, bias: Float32Array, activations: string[] }} Layer */
/** @typedef {{ probability: number, label: boolean, positive: string } | { label: string, probabilities: Record<string, number> } | { value: number }} Answer */
/**
 * @typedef {object} Predictor
 * @property {string} model
 * @property {string} version
 * @property {(rows: Row[]) => Answer[]} predict Throws an Error with a `code` for a row that is not one of the model.
 * @property {(row: Row) => Float32Array} outputs What the network gives for a row.
 * @property {() => { rows: number, worst: number }} checkGolden How far the golden rows are off, at most.
 */

const format = 'tenure-edge@1'
/** How far a golden output may be off, absolute, and relative above 1; as on the server. */
const tolerance = 1e-5

/** @param {string} code @param {string} message @returns {never} */
function refuse(code, message) {
  throw Object.assign(new Error(message), { code })
}

/**
 * Fetches the files beside this one, or those at another address, and checks the golden rows.
 * @param {string | URL} [base] @returns {Promise<Predictor>}
 */
export async function loadPredictor(base = import.meta.url) {
  const [manifest, model, weights] = await Promise.all(
    ['manifest.json', 'model.json', 'weights.bin'].map((name) => read(new URL(name, base))),
  )
  return createPredictor({ manifest: parsed(manifest), model: parsed(model), weights })
}

/** @param {URL} url @returns {Promise<ArrayBuffer>} */
async function read(url) {
  if (url.protocol === 'file:') {
    // Only where there is a file system: browsers fetch no files.
    const name = 'node:fs/promises'
    const { readFile } = await import(name)
    return Uint8Array.from(await readFile(url)).buffer
  }
  const answer = await fetch(url)
  if (!answer.ok) refuse('unreachable', `${url} answered ${answer.status}`)
  return answer.arrayBuffer()
}

/** @param {ArrayBuffer} bytes */
const parsed = (bytes) => JSON.parse(new TextDecoder().decode(bytes))

/** @param {{ manifest: Manifest, model: any, weights: ArrayBuffer }} files @returns {Predictor} */
export function createPredictor({ manifest, model, weights }) {
  if (manifest.format !== format)
    refuse('artifact_invalid', `the manifest is ${manifest.format}, not ${format}`)
  const layers = readLayers(model, weights)
  const encoder = createEncoder(manifest)
  if (layers[0].inputs !== encoder.width)
    refuse(
      'artifact_invalid',
      `the network takes ${layers[0].inputs} numbers, the features give ${encoder.width}`,
    )
  const single = { ...manifest, run: compile(layers, Float32Array), encoder }
  // Sums of very many terms may need more than 32 bits to come as close as is asked for; the server does the same.
  const chosen = goldenOff(single) <= tolerance ? single : { ...single, run: compile(layers, Float64Array) }
  const worst = goldenOff(chosen)
  if (!(worst <= tolerance)) refuse('artifact_invalid', `the golden rows are off by ${worst}`)
  const { encode } = encoder
  const answer = answerer(manifest.output)
  return {
    model: manifest.model,
    version: manifest.version,
    predict: (rows) => {
      const inputs = rows.map((row, index) => encode(row, index))
      return inputs.map((input, index) => answer(chosen.run(input), index))
    },
    outputs: (row) => chosen.run(encode(row, 0)),
    checkGolden: () => ({ rows: manifest.golden.instances.length, worst: goldenOff(chosen) }),
  }
}

/** @param {Pick<Manifest, 'golden'> & { run: (input: Float32Array) => Float32Array, encoder: Encoder }} of */
function goldenOff({ golden, run, encoder }) {
  let worst = 0
  golden.instances.forEach((row, index) => {
    const found = run(encoder.encode(row, index))
    golden.outputs[index].forEach((wanted, j) => {
      const off = Math.abs(found[j] - wanted) / Math.max(1, Math.abs(wanted))
      worst = Number.isFinite(off) ? Math.max(worst, off) : Infinity
    })
  })
  return worst
}

// From a row to the numbers of the network.

/** @typedef {{ width: number, encode: (row: Row, index?: number) => Float32Array }} Encoder */

/**
 * Also for TensorFlow.js: where the network has layers that this file does not know, `encode` gives what it is to be fed with.
 * @param {Pick<Manifest, 'features' | 'preprocessing'>} manifest @returns {Encoder}
 */
export function createEncoder({ features, preprocessing }) {
  let width = 0
  const columns = preprocessing.map((fit) => {
    const start = width
    width += fit.kind === 'number' ? 1 : fit.vocabulary.length + 1
    const places =
      fit.kind === 'number' ? new Map() : new Map(fit.vocabulary.map((value, place) => [value, place]))
    return { fit, start, places, feature: features[fit.name] }
  })
  const names = new Set(Object.keys(features))
  return {
    width,
    encode(row, index = 0) {
      if (typeof row !== 'object' || row === null || Array.isArray(row))
        refuse('invalid_request', `instance ${index} is no object`)
      for (const name of Object.keys(row))
        if (!names.has(name)) refuse('unknown_feature', `instance ${index} has an unknown feature "${name}"`)
      const into = new Float32Array(width)
      for (const { fit, start, places, feature } of columns) {
        const value = checked(row[fit.name], { fit, feature, index })
        if (fit.kind === 'number')
          into[start] = ((typeof value === 'number' ? value : fit.fill) - fit.mean) / fit.std
        else into[start + (places.get(value) ?? fit.vocabulary.length)] = 1
      }
      return into
    },
  }
}

/** @param {unknown} value @param {{ fit: Fit, feature: Feature, index: number }} of */
function checked(value, { fit, feature, index }) {
  const where = `instance ${index}: feature "${fit.name}"`
  if (value === undefined) refuse('missing_feature', `${where} is missing`)
  if (value === null)
    return feature.missing === 'fill' ? null : refuse('missing_feature', `${where} may not be null`)
  if (fit.kind === 'number') {
    if (typeof value !== 'number') refuse('wrong_type', `${where} is a ${typeof value}, not a number`)
    if (![value, (value - fit.mean) / fit.std].every((each) => Number.isFinite(Math.fround(each))))
      refuse('not_finite', `${where} is not finite, or too large`)
    return value
  }
  if (typeof value !== 'string') refuse('wrong_type', `${where} is a ${typeof value}, not a text`)
  if (feature.kind === 'category' && feature.values !== undefined && !feature.values.includes(value))
    refuse('unknown_category', `${where} is "${value}", none of its values`)
  return value
}

// From the files to dense layers.

const asIs = new Set(['InputLayer', 'Dropout', 'GaussianNoise', 'GaussianDropout'])

/** @param {any} model @param {ArrayBuffer} bytes @returns {Layer[]} */
function readLayers(model, bytes) {
  const root = model.modelTopology.model_config ?? model.modelTopology
  if (root.class_name !== 'Sequential') unknown(`the model is of the type ${root.class_name}`)
  const named = readWeights(model.weightsManifest, bytes)
  /** @param {string} name @param {string} part @param {number} count */
  const take = (name, part, count) => {
    const found = named.get(`${name}/${part}`)
    if (found === undefined || found.length !== count)
      refuse('artifact_invalid', `${name}/${part} does not have ${count} numbers`)
    return found
  }
  /** @type {Layer[]} */
  const layers = []
  /** A normalisation that is in no layer yet. @type {Affine | undefined} */
  let pending
  /** @type {number | undefined} */
  let width
  const settle = () => {
    if (pending !== undefined) layers.push(alone(pending))
    pending = undefined
  }
  const list = Array.isArray(root.config) ? root.config : root.config.layers
  for (const { class_name: kind, config } of list) {
    const shape = config.batch_input_shape ?? config.batchInputShape
    width ??= shape?.[1]
    if (asIs.has(kind)) continue
    const known =
      width ?? refuse('artifact_invalid', `the input width is not given before layer ${config.name}`)
    if (kind === 'Dense') {
      const { units } = config
      /** @type {Layer} */
      const layer = {
        inputs: known,
        units,
        kernel: take(config.name, 'kernel', known * units),
        bias: config.use_bias === false ? new Float32Array(units) : take(config.name, 'bias', units),
        activations: [config.activation ?? 'linear'],
      }
      layers.push(pending === undefined ? layer : foldedBefore(layer, pending))
      pending = undefined
      width = units
    } else if (kind === 'BatchNormalization') {
      settle()
      const affine = affineOf({
        gamma: config.scale === false ? undefined : take(config.name, 'gamma', known),
        beta: config.center === false ? undefined : take(config.name, 'beta', known),
        mean: take(config.name, 'moving_mean', known),
        variance: take(config.name, 'moving_variance', known),
        epsilon: config.epsilon ?? 1e-3,
      })
      const last = layers[layers.length - 1]
      if (last !== undefined && last.activations.every((each) => each === 'linear'))
        layers[layers.length - 1] = foldedBehind(last, affine)
      else pending = affine
    } else if (kind === 'Activation') {
      settle()
      const last = layers[layers.length - 1]
      if (last === undefined) refuse('artifact_invalid', `an activation comes before the first dense layer`)
      last.activations.push(config.activation)
    } else unknown(`layer ${config.name} is of the type ${kind}`)
  }
  settle()
  if (layers.length === 0) refuse('artifact_invalid', 'the network has no dense layer')
  for (const { activations: all } of layers)
    for (const name of all) if (!activations.has(name)) unknown(`there is an activation ${name}`)
  return layers
}

/** @param {string} what @returns {never} */
function unknown(what) {
  refuse(
    'layer_unknown',
    `${what}, which this predictor does not know. Load model.json with TensorFlow.js instead ` +
      `(tf.loadLayersModel), and feed it with what createEncoder(manifest).encode(row) gives.`,
  )
}

/** @param {any[]} manifest @param {ArrayBuffer} bytes */
function readWeights(manifest, bytes) {
  /** @type {Map<string, Float32Array>} */
  const named = new Map()
  let at = 0
  for (const { name, shape, dtype } of manifest[0].weights) {
    if (dtype !== 'float32') refuse('artifact_invalid', `${name} is of the type ${dtype}, not float32`)
    const count = shape.reduce(
      (/** @type {number} */ product, /** @type {number} */ size) => product * size,
      1,
    )
    if (at + count * 4 > bytes.byteLength) refuse('artifact_invalid', `weights.bin ends within ${name}`)
    named.set(name, new Float32Array(bytes.slice(at, at + count * 4)))
    at += count * 4
  }
  if (at !== bytes.byteLength) refuse('artifact_invalid', `weights.bin has bytes of no layer`)
  return named
}

/** x → scale × x + shift, number by number. @typedef {{ scale: Float64Array, shift: Float64Array }} Affine */

/**
 * @param {{ gamma?: Float32Array, beta?: Float32Array, mean: Float32Array, variance: Float32Array, epsilon: number }} of
 * @returns {Affine}
 */
function affineOf({ gamma, beta, mean, variance, epsilon }) {
  const scale = Float64Array.from(mean, (_, j) => (gamma?.[j] ?? 1) / Math.sqrt(variance[j] + epsilon))
  return { scale, shift: Float64Array.from(mean, (value, j) => (beta?.[j] ?? 0) - value * scale[j]) }
}

/** @param {Layer} layer @param {Affine} affine @returns {Layer} */
function foldedBehind(layer, { scale, shift }) {
  return {
    ...layer,
    kernel: layer.kernel.map((weight, at) => weight * scale[at % layer.units]),
    bias: layer.bias.map((value, j) => value * scale[j] + shift[j]),
  }
}

/** @param {Layer} layer @param {Affine} affine @returns {Layer} */
function foldedBefore(layer, { scale, shift }) {
  const { inputs, units, kernel } = layer
  const bias = Float64Array.from(layer.bias)
  for (let i = 0; i < inputs; i++) for (let j = 0; j < units; j++) bias[j] += shift[i] * kernel[i * units + j]
  return {
    ...layer,
    kernel: kernel.map((weight, at) => weight * scale[Math.floor(at / units)]),
    bias: Float32Array.from(bias),
  }
}

/** @param {Affine} affine @returns {Layer} */
function alone({ scale, shift }) {
  const units = scale.length
  const kernel = new Float32Array(units * units)
  for (let j = 0; j < units; j++) kernel[j * units + j] = scale[j]
  return { inputs: units, units, kernel, bias: Float32Array.from(shift), activations: ['linear'] }
}

// Computing.

/** @typedef {(values: Float32Array | Float64Array) => void} Activation */
/** @param {(x: number) => number} of @returns {Activation} */
const each = (of) => (values) => {
  for (let i = 0; i < values.length; i++) values[i] = of(values[i])
}
/** @param {number} x */
const sigmoid = (x) => 1 / (1 + Math.exp(-x))

/** By the names in tfjs' layer configurations. @type {Map<string, Activation>} */
const activations = new Map([
  ['linear', () => {}],
  ['relu', each((x) => (x < 0 ? 0 : x))],
  ['relu6', each((x) => (x < 0 ? 0 : x > 6 ? 6 : x))],
  ['sigmoid', each(sigmoid)],
  ['tanh', each(Math.tanh)],
  ['softmax', softmax],
  ['elu', each((x) => (x < 0 ? Math.expm1(x) : x))],
  ['selu', each((x) => 1.0507009873554805 * (x < 0 ? 1.6732632423543772 * Math.expm1(x) : x))],
  ['softplus', each((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))))],
  ['softsign', each((x) => x / (1 + Math.abs(x)))],
  ['swish', each((x) => x * sigmoid(x))],
])

/** @type {Activation} */
function softmax(values) {
  let max = -Infinity
  for (const value of values) if (value > max) max = value
  let sum = 0
  for (let i = 0; i < values.length; i++) {
    const power = Math.exp(values[i] - max)
    values[i] = power
    sum += power
  }
  for (let i = 0; i < values.length; i++) values[i] = values[i] / sum
}

/**
 * In 32 bits each product and each sum is rounded, in the order of the server: then the bits are the server's.
 * @param {Layer[]} layers @param {Float32ArrayConstructor | Float64ArrayConstructor} Numbers
 * @returns {(input: Float32Array) => Float32Array}
 */
function compile(layers, Numbers) {
  const round = Numbers === Float32Array ? Math.fround : (/** @type {number} */ x) => x
  const steps = layers.map((layer) => ({
    ...layer,
    activations: layer.activations.filter((name) => name !== 'linear').map((name) => activations.get(name)),
  }))
  return (input) => {
    /** @type {Float32Array | Float64Array} */
    let values = Numbers.from(input)
    for (const { inputs, units, kernel, bias, activations: all } of steps) {
      const sums = Numbers.from(bias)
      for (let i = 0; i < inputs; i++) {
        const x = values[i]
        const row = i * units
        for (let j = 0; j < units; j++) sums[j] = sums[j] + round(x * kernel[row + j])
      }
      for (const activate of all) activate?.(sums)
      values = sums
    }
    return Float32Array.from(values)
  }
}

/** @param {Output} output @returns {(outputs: Float32Array, index: number) => Answer} */
function answerer(output) {
  return (outputs, index) => {
    const invalid = (/** @type {string} */ what) =>
      refuse('output_invalid', `the answer of instance ${index} is ${what}`)
    if (output.kind === 'number') {
      const [value] = outputs
      const { min = -Number.MAX_VALUE, max = Number.MAX_VALUE } = output
      return value >= min && value <= max ? { value } : invalid(String(value))
    }
    for (const value of outputs) if (!(value >= 0 && value <= 1)) invalid(`the probability ${value}`)
    if (output.kind === 'probability') {
      const [probability] = outputs
      return { probability, label: probability >= output.threshold, positive: output.positive }
    }
    let best = 0
    for (let i = 1; i < outputs.length; i++) if (outputs[i] > outputs[best]) best = i
    const probabilities = Object.fromEntries(output.classes.map((name, i) => [name, outputs[i]]))
    return { label: output.classes[best], probabilities }
  }
}
