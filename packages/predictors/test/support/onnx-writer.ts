/** Writes ONNX files by the field numbers of onnx.proto, so that tests can express what no library would write. */

type Content = Uint8Array | string | number

/** Fields of a message: a number becomes a varint, a text or bytes a length-delimited field; a list repeats its field. */
export type Fields = Readonly<Record<number, Content | readonly Content[]>>

export function varint(value: number): Buffer {
  let left = BigInt.asUintN(64, BigInt(value))
  const bytes: number[] = []
  do {
    const more = left >> 7n
    bytes.push(Number(left & 127n) | (more > 0n ? 128 : 0))
    left = more
  } while (left > 0n)
  return Buffer.from(bytes)
}

export function message(fields: Fields): Buffer {
  const parts = Object.entries(fields).flatMap(([number, given]) =>
    (Array.isArray(given) ? (given as readonly Content[]) : [given as Content]).flatMap((content) => {
      if (typeof content === 'number') return [varint(Number(number) * 8), varint(content)]
      const bytes = Buffer.from(content as string)
      return [varint(Number(number) * 8 + 2), varint(bytes.byteLength), bytes]
    }),
  )
  return Buffer.concat(parts)
}

const [float, int64] = [1, 7]

export const floats = (values: readonly number[]): Buffer => Buffer.from(Float32Array.from(values).buffer)

export const tensor = (name: string, dims: readonly number[], type: number, raw: Uint8Array): Buffer =>
  message({ 1: [...dims], 2: type, 8: name, 9: raw })

export const wholes = (values: readonly number[]): Buffer =>
  Buffer.from(BigInt64Array.from(values, (each) => BigInt(each)).buffer)

/** Attributes by kind: integers, texts, lists of both, 32-bit floats alone (`float`) and in lists (`floats`), and tensors and graphs as messages. */
export function attribute(
  name: string,
  value:
    | number
    | string
    | readonly number[]
    | readonly string[]
    | { float: number }
    | { floats: readonly number[] }
    | { tensor: Buffer }
    | { graph: Buffer },
): Buffer {
  if (typeof value === 'number') return message({ 1: name, 3: value, 20: 2 })
  if (typeof value === 'string') return message({ 1: name, 4: value, 20: 3 })
  if ('float' in value) return Buffer.concat([message({ 1: name, 20: 1 }), floatField(2, value.float)])
  if ('tensor' in value) return message({ 1: name, 5: value.tensor, 20: 4 })
  if ('graph' in value) return message({ 1: name, 6: value.graph, 20: 5 })
  if ('floats' in value) return message({ 1: name, 7: floats(value.floats), 20: 6 })
  return typeof value[0] === 'string'
    ? message({ 1: name, 9: value as string[], 20: 8 })
    : message({ 1: name, 8: value as number[], 20: 7 })
}

/** Encodes a fixed-length field of four bytes. */
const floatField = (number: number, value: number): Buffer =>
  Buffer.concat([varint(number * 8 + 5), floats([value])])

type AttributeValue = Parameters<typeof attribute>[1]

export interface WrittenNode {
  op: string
  inputs: readonly string[]
  outputs: readonly string[]
  domain?: string
  attributes?: Readonly<Record<string, AttributeValue>>
}

export const node = ({ op, inputs, outputs, domain = '', attributes = {} }: WrittenNode): Buffer =>
  message({
    1: [...inputs],
    2: [...outputs],
    4: op,
    5: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
    7: domain,
  })

/** Declares a tensor with a type and a shape; the dimension 0 means any size. */
export const value = (name: string, dims: readonly number[], type = float): Buffer =>
  message({ 1: name, 2: message({ 1: message({ 1: type, 2: shape(dims) }) }) })

const shape = (dims: readonly number[]): Buffer =>
  message({ 1: dims.map((dim) => message(dim === 0 ? { 2: 'n' } : { 1: dim })) })

export interface WrittenGraph {
  nodes: readonly Buffer[]
  inputs?: readonly Buffer[]
  outputs?: readonly Buffer[]
  initializers?: readonly Buffer[]
}

export const graph = ({ nodes, inputs, outputs, initializers = [] }: WrittenGraph): Buffer =>
  message({
    1: [...nodes],
    2: 'g',
    5: [...initializers],
    11: [...(inputs ?? [value('x', [0, 1])])],
    12: [...(outputs ?? [value('y', [0, 1])])],
  })

export const model = (content: Buffer, opsets: Readonly<Record<string, number>> = {}): Buffer =>
  message({
    1: 10,
    2: 'test',
    7: content,
    8: Object.entries({ '': 21, 'ai.onnx.ml': 3, ...opsets }).map(([domain, version]) =>
      message({ 1: domain, 2: version }),
    ),
  })

/**
 * Builds a graph with one input column and the same output. In between it multiplies two square matrices `times` times; the largest value
 * of a batch sets their size, so a value controls the time and memory of a run; `least` is added to it.
 */
export function demandingModel(times: number, least = 0): Buffer {
  const products = Array.from({ length: times }, (_, at) =>
    node({ op: 'MatMul', inputs: [at === 0 ? 'm' : `p${at - 1}`, 'm'], outputs: [`p${at}`] }),
  )
  return model(
    graph({
      initializers: [
        tensor('one', [1], int64, wholes([1])),
        tensor('zero', [1], float, floats([0])),
        tensor('least', [1], float, floats([least])),
      ],
      nodes: [
        node({ op: 'ReduceMax', inputs: ['x'], outputs: ['largest'] }),
        node({ op: 'Add', inputs: ['largest', 'least'], outputs: ['side'] }),
        node({ op: 'Cast', inputs: ['side'], outputs: ['whole'], attributes: { to: int64 } }),
        node({ op: 'Reshape', inputs: ['whole', 'one'], outputs: ['size'] }),
        node({ op: 'Concat', inputs: ['size', 'size'], outputs: ['sizes'], attributes: { axis: 0 } }),
        node({ op: 'ConstantOfShape', inputs: ['sizes'], outputs: ['m'] }),
        ...products,
        node({ op: 'ReduceSum', inputs: [`p${times - 1}`], outputs: ['sum'] }),
        node({ op: 'Mul', inputs: ['sum', 'zero'], outputs: ['nothing'] }),
        node({ op: 'Add', inputs: ['x', 'nothing'], outputs: ['y'] }),
      ],
    }),
  )
}
