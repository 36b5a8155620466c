/**
 * Folds batch normalization into the adjacent dense layers. In a prediction, batch normalization multiplies each number and adds a
 * constant. Without folding, the whole network would need TensorFlow.js, where a row takes a hundred times as long.
 */
export interface DenseLayer {
  inputs: number
  units: number
  /** Row-major: the weight from input i to unit j is at i * units + j. */
  kernel: Float32Array
  /** Zeros when the layer has no bias. */
  bias: Float32Array
  /** The names of the activations, in the order in which they are applied. */
  activations: string[]
}

/** Maps each number x to scale × x + shift. */
export interface Affine {
  scale: Float64Array
  shift: Float64Array
}

export interface Normalisation {
  gamma: Float32Array | undefined
  beta: Float32Array | undefined
  mean: Float32Array
  variance: Float32Array
  epsilon: number
}

export function affineOf({ gamma, beta, mean, variance, epsilon }: Normalisation): Affine {
  const scale = Float64Array.from(mean, (_, j) => (gamma?.[j] ?? 1) / Math.sqrt(variance[j]! + epsilon))
  return { scale, shift: Float64Array.from(mean, (value, j) => (beta?.[j] ?? 0) - value * scale[j]!) }
}

/** Returns a layer that includes the normalization of its outputs. */
export function foldAfter(layer: DenseLayer, { scale, shift }: Affine): DenseLayer {
  const { units } = layer
  return {
    ...layer,
    kernel: layer.kernel.map((weight, at) => weight * scale[at % units]!),
    bias: layer.bias.map((value, j) => value * scale[j]! + shift[j]!),
  }
}

/** Returns a layer that includes the normalization of its inputs. */
export function foldBefore(layer: DenseLayer, { scale, shift }: Affine): DenseLayer {
  const { inputs, units, kernel } = layer
  const bias = Float64Array.from(layer.bias)
  for (let i = 0; i < inputs; i++)
    for (let j = 0; j < units; j++) bias[j]! += shift[i]! * kernel[i * units + j]!
  return {
    ...layer,
    kernel: kernel.map((weight, at) => weight * scale[Math.floor(at / units)]!),
    bias: Float32Array.from(bias),
  }
}

/** Returns the normalization as a separate layer, for one between two activations. */
export function asDenseLayer({ scale, shift }: Affine): DenseLayer {
  const units = scale.length
  const kernel = new Float32Array(units * units)
  for (let j = 0; j < units; j++) kernel[j * units + j] = scale[j]!
  return { inputs: units, units, kernel, bias: Float32Array.from(shift), activations: ['linear'] }
}
