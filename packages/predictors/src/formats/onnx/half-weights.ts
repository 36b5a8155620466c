/**
 * Halves the bytes of a graph: its tensors of 32 bits get 16 bits and an operator that widens them again, so every other operator computes as
 * before, in 32 bits.
 */
import { refuse } from '../../errors.ts'
import { bitsOfHalf, halfOfBits } from '../../half.ts'
import type { CompressedFiles } from '../format.ts'
import { readTensor } from './attributes.ts'
import { elementType } from './element-types.ts'
import { eachField, numbersOf, rewritten, spanOf, wireText, written, type WireSpan } from './wire.ts'

/** The operator that widens a tensor takes as many bytes as fewer numbers would save. */
const minNumbers = 64
/** The size from which a number is infinite in 16 bits. */
const tooLarge = 65_520
const [single, half] = [elementType('float'), elementType('float16')]
/** Field numbers of onnx.proto. */
const [graphOfFile, nodeOfGraph, attributeOfNode, tensorOfGraph, inputOfGraph] = [7, 1, 5, 5, 11] as const

/**
 * Halves the tensors of the graph, of its Constant nodes and of the graphs of its branches. Throws `artifact_invalid` for a file without such
 * tensors. A tensor that is also an input stays: a caller may replace it.
 */
export function halveWeights(bytes: Uint8Array): { bytes: Uint8Array } & Pick<CompressedFiles, 'counts'> {
  const weights = { parent: 0, child: 0 }
  const file = spanOfAll(bytes)
  const taken = new Set<string>()
  eachField(file, (field) => {
    if (field.number === graphOfFile) addNames(spanOf(bytes, field), taken)
  })
  const freeName = (name: string): string => {
    let free = `${name}.float16`
    while (taken.has(free)) free += '_'
    taken.add(free)
    return free
  }
  /** Undefined for a tensor that keeps its bits. */
  const halve = (tensor: WireSpan, name: string, isKept: boolean): Halved | undefined => {
    const values = readTensor(tensor)
    if (!(values instanceof Float32Array)) return undefined
    weights.parent += values.length
    if (isKept || values.length < minNumbers || !values.every((each) => Math.abs(each) < tooLarge)) {
      weights.child += values.length
      return undefined
    }
    const stored = freeName(name)
    return {
      name: stored,
      cast: castOf(stored, name),
      tensor: Buffer.concat([
        ...[...numbersOf(tensor, 1, 0)].map((dim) => written(1, dim)),
        written(2, half),
        written(8, Buffer.from(stored)),
        written(9, new Uint8Array(Uint16Array.from(values, bitsOfHalf).buffer)),
      ]),
    }
  }
  const halveGraph = (graph: WireSpan): Buffer => {
    const inputs = new Set<string>()
    eachField(graph, (field) => {
      if (field.number === inputOfGraph) inputs.add(nameOf(spanOf(graph.bytes, field), 1))
    })
    const casts: Buffer[] = []
    const rest = rewritten(graph, (number, content) => {
      if (number === nodeOfGraph) return halveNode(content)
      if (number !== tensorOfGraph) return undefined
      const name = nameOf(content, 8)
      const halved = halve(content, name, inputs.has(name))
      if (halved === undefined) return undefined
      casts.push(written(nodeOfGraph, halved.cast))
      return halved.tensor
    })
    return Buffer.concat([...casts, rest])
  }
  const halveNode = (node: WireSpan): Uint8Array | Uint8Array[] => {
    const output = nameOf(node, 2)
    const isConstant = nameOf(node, 4) === 'Constant'
    let halved: Halved | undefined
    const content = rewritten(node, (number, attribute) =>
      number === attributeOfNode
        ? rewritten(attribute, (part, inner) => {
            if (part === 6 || part === 11) return halveGraph(inner)
            if (part !== 5 || !isConstant) return undefined
            halved = halve(inner, output, false)
            return halved?.tensor
          })
        : undefined,
    )
    if (halved === undefined) return content
    const { name, cast } = halved
    return [rewritten(spanOfAll(content), (number) => (number === 2 ? Buffer.from(name) : undefined)), cast]
  }
  const made = rewritten(file, (number, content) =>
    number === graphOfFile ? halveGraph(content) : undefined,
  )
  if (weights.child === weights.parent)
    refuse(
      `the graph has no tensor of 32 bits with ${minNumbers} numbers or more, all below 65,520, that is no input`,
    )
  return { bytes: made, counts: { 'weights of 32 bits': weights } }
}

interface Halved {
  /** The name of the tensor of 16 bits. */
  name: string
  tensor: Buffer
  /** The node that widens it to the name that it had. */
  cast: Buffer
}

/** Adds the names of all values of a graph and of those inside it. */
function addNames(graph: WireSpan, names: Set<string>): void {
  eachField(graph, (field) => {
    const content = spanOf(graph.bytes, field)
    if (field.number === tensorOfGraph) names.add(nameOf(content, 8))
    else if (field.number === inputOfGraph) names.add(nameOf(content, 1))
    else if (field.number === nodeOfGraph)
      eachField(content, (part) => {
        if (part.number === 2) names.add(wireText(spanOf(graph.bytes, part)))
      })
  })
  eachInner(graph, (inner) => addNames(inner, names))
}

/** Visits the graphs that the nodes of a graph hold as attributes, such as the branches of an If. */
function eachInner(
  graph: WireSpan,
  visit: (inner: WireSpan) => void,
  onTensor?: (tensor: WireSpan) => void,
): void {
  const { bytes } = graph
  eachField(graph, (node) => {
    if (node.number !== nodeOfGraph) return
    eachField(spanOf(bytes, node), (attribute) => {
      if (attribute.number !== attributeOfNode) return
      eachField(spanOf(bytes, attribute), (part) => {
        if (part.number === 6 || part.number === 11) visit(spanOf(bytes, part))
        else if (part.number === 5) onTensor?.(spanOf(bytes, part))
      })
    })
  })
}

const castOf = (input: string, output: string): Buffer =>
  Buffer.concat([
    written(1, Buffer.from(input)),
    written(2, Buffer.from(output)),
    written(4, Buffer.from('Cast')),
    // The attribute `to`, of the type INT.
    written(5, Buffer.concat([written(1, Buffer.from('to')), written(3, single), written(20, 2)])),
  ])

const spanOfAll = (bytes: Uint8Array): WireSpan => ({ bytes, from: 0, to: bytes.byteLength })

function nameOf(message: WireSpan, of: number): string {
  let name = ''
  eachField(message, (field) => {
    if (field.number === of) name = wireText(spanOf(message.bytes, field))
  })
  return name
}

/** Reads a tensor as `halveWeights` writes it; undefined for any other. */
export function readHalves(tensor: WireSpan): Float32Array | undefined {
  let type = 0
  let raw: WireSpan | undefined
  eachField(tensor, (field) => {
    if (field.number === 2) type = field.value
    else if (field.number === 9) raw = spanOf(tensor.bytes, field)
  })
  if (type !== half || raw === undefined) return undefined
  const bytes = Uint8Array.from(raw.bytes.subarray(raw.from, raw.to))
  return Float32Array.from(new Uint16Array(bytes.buffer), halfOfBits)
}

/** The bytes of the file that become twice as many in memory, where weights have 32 bits. */
export function bytesOfHalves(bytes: Uint8Array): number {
  let sum = 0
  const add = (tensor: WireSpan) => void (sum += 2 * (readHalves(tensor)?.length ?? 0))
  const addGraph = (graph: WireSpan): void => {
    eachField(graph, (field) => {
      if (field.number === tensorOfGraph) add(spanOf(bytes, field))
    })
    eachInner(graph, addGraph, add)
  }
  eachField(spanOfAll(bytes), (field) => {
    if (field.number === graphOfFile) addGraph(spanOf(bytes, field))
  })
  return sum
}
