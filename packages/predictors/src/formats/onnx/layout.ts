/**
 * Determines the inputs and the output of a graph. The inputs are matrices of numbers, or named columns of numbers and texts. Tensors of more
 * dimensions are matrices, with a row in the order of C. The output is one matrix of numbers.
 */
import { refuse } from '../../errors.ts'
import type { ImageShape } from '../../png.ts'
import { elementType, elementTypeName } from './element-types.ts'
import { knownTextsOf, numbersByInput } from './known-texts.ts'
import { hasSteadyTime } from './steady-time.ts'
import { onnxLimits, type OnnxGraph, type OnnxValue } from './graph.ts'

/** The supported input types, by their number in TensorProto. */
const inputTypes = {
  1: 'float32',
  2: 'uint8',
  6: 'int32',
  7: 'int64',
  8: 'string',
  9: 'bool',
  11: 'float64',
} as const
export type OnnxType = (typeof inputTypes)[keyof typeof inputTypes]

export interface OnnxInput {
  name: string
  type: OnnxType
  /** The numbers or texts of a row. */
  width: number
  /** The dimensions of a row; absent for columns. */
  shape?: readonly number[]
}

export interface OnnxColumn {
  name: string
  isText?: boolean
  /** The input of which a number is one of several. */
  input?: string
  /** The image that the input may be; at its first number. */
  image?: ImageShape
}

export interface OnnxLayout {
  inputs: readonly OnnxInput[]
  /** The columns of all inputs, in order. Where an input is a matrix, numbers have no names. */
  columns: readonly OnnxColumn[]
  isNamed: boolean
  /** The output that is requested. */
  output: string
  /** Whether ONNX Runtime gets one row at a time, because it may answer a row otherwise in a batch. */
  isAlone: boolean
  /** Whether rows must not change each other's answers in a batch, except those with NaN of a graph that is given one row at a time. */
  isTriedTogether: boolean
  /** Whether the number of rows and the length of their texts alone decide how long a run takes. */
  hasSteadyTime: boolean
  /** The texts that the graph knows, for a graph that takes texts. */
  knownTexts?: readonly (readonly string[])[]
  /** For each column of numbers, some that its encoders know; for a graph of named columns. */
  knownNumbers?: readonly (readonly number[])[]
}

/** The operators that keep or drop NaN by the place of its row in the batch. */
const placingNaN = ['ReduceMax', 'ReduceMin', 'Hardmax']

/** Returns the layout. Throws `artifact_invalid` with the input or output and what to change. */
export function onnxLayoutOf(graph: OnnxGraph): OnnxLayout {
  const { inputs, outputs, operators } = graph
  const isScaledByBatch = operators.has('DynamicQuantizeLinear')
  expectNoConstants(inputs)
  const taken = inputs.map(inputOf)
  const [first] = taken
  if (first === undefined) refuse('the ONNX graph has no inputs')
  if (new Set(taken.map(({ name }) => name)).size < taken.length)
    refuse('two inputs of the ONNX graph have the same name')
  const wide = taken.find(({ width }) => width > 1)
  const texts = taken.find(({ type, width }) => type === 'string' && width > 1)
  if (texts !== undefined)
    refuse(`the input ${texts.name} is a matrix of texts: make an input of shape [None, 1] for each column`)
  const columns = wide === undefined ? taken.map(namedColumn) : unnamedColumns(taken)
  return {
    inputs: taken,
    columns,
    isNamed: wide === undefined,
    output: outputOf(outputs),
    isAlone: isScaledByBatch || placingNaN.some((op) => operators.has(op)),
    isTriedTogether: !isScaledByBatch,
    hasSteadyTime: hasSteadyTime(graph),
    knownTexts: taken.some(({ type }) => type === 'string') ? knownTextsOf(graph) : undefined,
    knownNumbers: wide === undefined ? knownNumbersOf(graph, taken) : undefined,
  }
}

const maxKnownNumbers = 4

function knownNumbersOf(graph: OnnxGraph, inputs: readonly OnnxInput[]): number[][] {
  const numbersOf = numbersByInput(graph)
  return inputs
    .filter(({ type }) => type !== 'string')
    .map(({ name }) => [...(numbersOf(name) ?? [])].slice(0, maxKnownNumbers))
}

const namedColumn = ({ name, type }: OnnxInput): OnnxColumn =>
  type === 'string' ? { name, isText: true } : { name }

/** The columns of matrices have no names, only that of their input. They follow each other in the order of the inputs. */
function unnamedColumns(inputs: readonly OnnxInput[]): OnnxColumn[] {
  const count = inputs.reduce((sum, { width }) => sum + width, 0)
  if (count > onnxLimits.columns)
    refuse(`the inputs have ${count} columns together, more than ${onnxLimits.columns}`)
  return inputs
    .flatMap((input) =>
      Array.from({ length: input.width }, (_, at) => ({
        input,
        image: at === 0 ? imageOf(input) : undefined,
      })),
    )
    .map(({ input, image }, at) =>
      input.type === 'string'
        ? namedColumn(input)
        : { name: `f${at}`, input: input.name, ...(image && { image }) },
    )
}

/** Returns the image that an input of [any, C, H, W] or [any, H, W, C] may be; undefined where the channels are neither first nor last for certain. */
function imageOf({ type, shape }: OnnxInput): ImageShape | undefined {
  if (shape?.length !== 3 || (type !== 'float32' && type !== 'uint8')) return undefined
  const [first, middle, last] = shape as [number, number, number]
  if (isChannels(first) === isChannels(last)) return undefined
  return isChannels(first)
    ? { height: middle, width: last, channels: first, order: 'CHW' }
    : { height: first, width: middle, channels: last as ImageShape['channels'], order: 'HWC' }
}

const isChannels = (count: number): count is ImageShape['channels'] => [1, 3, 4].includes(count)

/** Refuses constants that a converter left open as inputs, such as the mean and deviation of a Keras `Normalization`. */
function expectNoConstants(inputs: readonly OnnxValue[]): void {
  const isOfRows = ({ dims = [] }: OnnxValue) => dims.length > 1 && dims[0] === undefined
  const constant = inputs.find(({ dims }) => dims?.every((dim) => dim !== undefined) === true)
  if (constant !== undefined && inputs.some(isOfRows))
    refuse(
      `the input ${constant.name} has the fixed shape ${shapeText(constant.dims)} beside inputs of any number of rows, so it seems to be a constant that the converter left open: make it an initializer of the graph (for Keras's Normalization, whose mean and variance it is, save the layers after it and let Tenure or a pipeline scale the columns). If it is a column of the rows, export it with a first dimension of any size`,
    )
}

function inputOf({ name, type, dims }: OnnxValue): OnnxInput {
  const found = inputTypes[type as keyof typeof inputTypes] as OnnxType | undefined
  if (found === undefined)
    refuse(
      type === undefined
        ? `the input ${name} is not a tensor: export a matrix, or columns of shape [None, 1]`
        : `the input ${name} is of the type ${elementTypeName(type)}; float, double, uint8, int32, int64, bool and string are read: ${isHalf(type) ? keepTypes : 'take one of them and cast it in the graph'}`,
    )
  if (dims === undefined || dims.length < 2)
    refuse(
      `the input ${name} has the shape ${shapeText(dims)}; one of rows and columns is read${dims?.length === 1 ? ': export it with the shape [None, 1]' : ''}`,
    )
  const [rows, ...shape] = dims
  if (rows !== undefined)
    refuse(
      `the input ${name} takes ${rows} rows at a time: export the model with a first dimension of any size (PyTorch: dynamic_shapes, or dynamic_axes with dynamo=False)`,
    )
  if (!shape.every((dim) => dim !== undefined))
    refuse(
      shape.length === 1
        ? `the input ${name} does not say how many columns it has`
        : `the input ${name} has the shape ${shapeText(dims)}: export it with a fixed size of each dimension but the first, whose product is the length of the vector`,
    )
  const width = shape.reduce((product, dim) => product * dim, 1)
  if (width > onnxLimits.columns)
    refuse(
      `the input ${name} has ${width} columns, more than ${onnxLimits.columns}: make it smaller, or open the graph in Python (job.save(None, answer=…))`,
    )
  return { name, type: found, width, ...(shape.length > 1 && { shape }) }
}

const shapeText = (dims: OnnxValue['dims']): string =>
  dims === undefined ? 'of any kind' : `[${dims.map((dim) => dim ?? 'any').join(', ')}]`

const [single, double] = [elementType('float'), elementType('double')]
const isHalf = (type: number | undefined): boolean =>
  type === elementType('float16') || type === elementType('bfloat16')
const keepTypes =
  'keep inputs and outputs of 32 bits (float16.convert_float_to_float16 with keep_io_types=True)'

function outputOf(outputs: readonly OnnxValue[]): string {
  const map = outputs.find(({ type }) => type === undefined)
  if (map !== undefined)
    refuse(
      `the output ${map.name} holds a sequence or dictionaries and no tensor: export one matrix of numbers (MultiOutputClassifier: convert each of its estimators_ to a file of its own; other classifiers: zipmap=False)`,
    )
  const numbers = outputs.filter(({ type }) => type === single || type === double)
  const [first, second] = numbers
  const half = outputs.find(({ type }) => isHalf(type))
  if (first === undefined && half?.type !== undefined)
    refuse(`the output ${half.name} is of the type ${elementTypeName(half.type)}: ${keepTypes}`)
  if (first === undefined)
    refuse(
      `the outputs (${outputs.map(({ name }) => name).join(', ')}) hold labels alone: export probabilities or numbers`,
    )
  if (second !== undefined)
    refuse(
      `the graph has ${numbers.length} outputs of numbers (${numbers.map(({ name }) => name).join(', ')}): export one`,
    )
  const { name, dims } = first
  if (dims !== undefined && (dims.length === 0 || dims.length > 2))
    refuse(`the output ${name} has the shape ${shapeText(dims)}; one of rows and columns is read`)
  return name
}
