/**
 * Halves the bytes of a graph: its tensors of 32 bits get 16 bits and an operator that widens them again, so every other operator computes as
 * before, in 32 bits.
 */
import { refuse } from '../../errors.ts'
import { bitsOfHalf, halfOfBits } from '../../half.ts'
import type { CompressedFiles } from '../format.ts'
import { readTensor } from './attributes.ts'
import { elementType } from './element-types.ts'
import type { OnnxGraph } from './graph.ts'
import { eachField, numbersOf, rewritten, spanOf, wireText, written, type WireSpan } from './wire.ts'

/** The operator that widens a tensor takes as many bytes as fewer numbers would save. */
const minNumbers = 64
/** The size from which a number is infinite in 16 bits. */
const tooLarge = 65_520
const [single, half] = [elementType('float'), elementType('float16')]

/** Throws `artifact_invalid` for a graph without such tensors. A tensor that is also an input stays: a caller may replace it. */
export function halveWeights(bytes: Uint8Array): { bytes: Uint8Array } & Pick<CompressedFiles, 'counts'> {
  const weights = { parent: 0, child: 0 }
  const halveGraph = (graph: WireSpan): Uint8Array => {
    const inputs = new Set<string>()
    eachField(graph, (field) => {
      if (field.number === 11) inputs.add(nameOf(spanOf(graph.bytes, field), 1))
    })
    const casts: Buffer[] = []
    const rest = rewritten(graph, (number, tensor) => {
      const values = number === 5 ? readTensor(tensor) : undefined
      if (!(values instanceof Float32Array)) return undefined
      weights.parent += values.length
      const name = nameOf(tensor, 8)
      const isKept = values.length < minNumbers || inputs.has(name)
      if (isKept || !values.every((each) => Math.abs(each) < tooLarge)) {
        weights.child += values.length
        return undefined
      }
      casts.push(written(1, castOf(`${name}.float16`, name)))
      return Buffer.concat([
        ...[...numbersOf(tensor, 1, 0)].map((dim) => written(1, dim)),
        written(2, half),
        written(8, Buffer.from(`${name}.float16`)),
        written(9, new Uint8Array(Uint16Array.from(values, bitsOfHalf).buffer)),
      ])
    })
    if (casts.length === 0)
      refuse(
        `the graph has no tensor of 32 bits with ${minNumbers} numbers or more, all below 65,520, that is no input`,
      )
    return Buffer.concat([...casts, rest])
  }
  const file = { bytes, from: 0, to: bytes.byteLength }
  const made = rewritten(file, (number, content) => (number === 7 ? halveGraph(content) : undefined))
  return { bytes: made, counts: { 'weights of 32 bits': weights } }
}

const castOf = (input: string, output: string): Buffer =>
  Buffer.concat([
    written(1, Buffer.from(input)),
    written(2, Buffer.from(output)),
    written(4, Buffer.from('Cast')),
    // The attribute `to`, of the type INT.
    written(5, Buffer.concat([written(1, Buffer.from('to')), written(3, single), written(20, 2)])),
  ])

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
export const bytesOfHalves = ({ initializers }: Pick<OnnxGraph, 'initializers'>): number =>
  [...initializers.values()].reduce((sum, tensor) => sum + 2 * (readHalves(tensor)?.length ?? 0), 0)
