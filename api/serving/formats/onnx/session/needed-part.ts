/** Writes the part of an ONNX file that one output needs, so that ONNX Runtime loads and computes nothing else. */
import { readGraph } from '../graph.ts'
import { neededNodes } from '../rows/lower-rows.ts'
import { eachField, spanOf, type WireSpan } from '../wire.ts'

/** The numbers of fields in onnx.proto. */
const [graphOfModel, nodesOfGraph, outputsOfGraph] = [7, 1, 12]

/** Returns a file without the nodes and outputs that the output does not need. Weights that only those nodes read stay in it. */
export function neededPart(bytes: Uint8Array, output: string): Uint8Array {
  const { nodes, outputs } = readGraph(bytes)
  const needed = new Set(neededNodes(nodes, new Map([[output, 1]])))
  let [nodeAt, outputAt] = [0, 0]
  return rewritten({ bytes, from: 0, to: bytes.byteLength }, (number, content) => {
    if (number !== graphOfModel) return undefined
    const graph = rewritten(content, (part) => {
      if (part === nodesOfGraph) return needed.has(nodes[nodeAt++]!) ? undefined : []
      return part === outputsOfGraph && outputs[outputAt++]!.name !== output ? [] : undefined
    })
    return [tagOf(graphOfModel), lengthOf(graph), graph]
  })
}

type Parts = readonly Uint8Array[]

/** Copies a message field by field. `change` returns what replaces a field; undefined leaves it. */
export function rewritten(
  message: WireSpan,
  change: (number: number, content: WireSpan) => Parts | undefined,
): Buffer {
  const parts: Uint8Array[] = []
  let at = message.from
  eachField(message, (field) => {
    const whole = message.bytes.subarray(at, field.to)
    at = field.to
    parts.push(...(change(field.number, spanOf(message.bytes, field)) ?? [whole]))
  })
  return Buffer.concat(parts)
}

/** The tag of a field with a length. */
const tagOf = (number: number): Uint8Array => Uint8Array.of((number << 3) | 2)

function lengthOf({ byteLength }: Uint8Array): Uint8Array {
  const bytes: number[] = []
  let left = byteLength
  for (; left >= 128; left >>>= 7) bytes.push((left & 127) | 128)
  return Uint8Array.of(...bytes, left)
}
