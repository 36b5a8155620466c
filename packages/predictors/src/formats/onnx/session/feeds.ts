/** Makes the inputs of a run of a graph from rows, for each build of ONNX Runtime. */
import type { Tensor } from 'onnxruntime-node'
import type { OnnxInput } from '../layout.ts'

/** What a graph takes and gives. */
export interface GraphPlan {
  inputs: readonly OnnxInput[]
  /** The output that is requested. */
  output: string
  /** Whether each row is computed separately. */
  isAlone?: boolean
}

/** Rows of numbers, one after the other, and a list of texts for each text input. */
export interface GraphRows {
  rows: number
  numbers: Float64Array
  texts: readonly string[][]
}

type Feeds = Record<string, Tensor>

/** `Tensors`: the class of the build that gets them. */
export function feedsFor(
  { inputs }: Pick<GraphPlan, 'inputs'>,
  Tensors: typeof Tensor,
): (rows: GraphRows) => Feeds {
  const makers = inputs.map(({ type }) => makerOf[type])
  return ({ rows, numbers, texts }) => {
    const feeds: Feeds = {}
    const width = numbers.length / rows
    let [column, text] = [0, 0]
    for (let at = 0; at < inputs.length; at++) {
      const { name, type, width: count, shape = [count] } = inputs[at]!
      const dims = [rows, ...shape]
      if (type === 'string') feeds[name] = new Tensors('string', texts[text++]!, dims)
      else {
        feeds[name] = makers[at]!(Tensors, numbers, { rows, width, from: column, count }, dims)
        column += count
      }
    }
    return feeds
  }
}

/** The columns of an input among those of the rows. */
interface Part {
  rows: number
  width: number
  from: number
  count: number
}

type Maker = (Tensors: typeof Tensor, numbers: Float64Array, part: Part, dims: number[]) => Tensor

/** Copies the columns of an input, row by row. */
function copyPart<Numbers extends Float32Array | Float64Array | Int32Array | Uint8Array>(
  numbers: Float64Array,
  { rows, width, from, count }: Part,
  into: Numbers,
): Numbers {
  let to = 0
  for (let row = 0; row < rows; row++)
    for (let at = row * width + from; at < row * width + from + count; at++) into[to++] = numbers[at]!
  return into
}

const sizeOf = ({ rows, count }: Part): number => rows * count

const makerOf: Readonly<Record<OnnxInput['type'], Maker | undefined>> = {
  float32: (Tensors, numbers, part, dims) =>
    new Tensors('float32', copyPart(numbers, part, new Float32Array(sizeOf(part))), dims),
  float64: (Tensors, numbers, part, dims) =>
    new Tensors('float64', copyPart(numbers, part, new Float64Array(sizeOf(part))), dims),
  int32: (Tensors, numbers, part, dims) =>
    new Tensors('int32', copyPart(numbers, part, new Int32Array(sizeOf(part))), dims),
  int64(Tensors, numbers, part, dims) {
    const values = copyPart(numbers, part, new Float64Array(sizeOf(part)))
    return new Tensors(
      'int64',
      BigInt64Array.from(values, (value) => BigInt(value)),
      dims,
    )
  },
  uint8: (Tensors, numbers, part, dims) =>
    new Tensors('uint8', copyPart(numbers, part, new Uint8Array(sizeOf(part))), dims),
  bool: (Tensors, numbers, part, dims) =>
    new Tensors('bool', copyPart(numbers, part, new Uint8Array(sizeOf(part))), dims),
  string: undefined,
}
