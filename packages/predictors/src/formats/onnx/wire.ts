/** Reads and rewrites the messages of an ONNX file. */
import { refuse } from '../../errors.ts'
import { spanOf, wireReader, type WireSpan } from '../wire.ts'

export { spanOf, wireText, type WireSpan } from '../wire.ts'

export const { eachField, countNumbers, countIn, numbersOf, readNumbers } = wireReader((issue) =>
  refuse(`the ONNX file is truncated or damaged: ${issue}`),
)

/** Copies a message field by field. `change` returns what replaces the content of a field of bytes, or several fields in its place; undefined leaves it. */
export function rewritten(
  message: WireSpan,
  change: (number: number, content: WireSpan) => Uint8Array | readonly Uint8Array[] | undefined,
): Buffer {
  const parts: Uint8Array[] = []
  let at = message.from
  eachField(message, (field) => {
    const changed = change(field.number, spanOf(message.bytes, field))
    if (changed === undefined) parts.push(message.bytes.subarray(at, field.to))
    else parts.push(...[changed].flat().map((content) => written(field.number, content)))
    at = field.to
  })
  return Buffer.concat(parts)
}

/** Writes a field: a whole number below 2³², or bytes. */
export const written = (number: number, content: number | Uint8Array): Buffer =>
  typeof content === 'number'
    ? Buffer.concat([varint(number << 3), varint(content)])
    : Buffer.concat([varint((number << 3) | 2), varint(content.byteLength), content])

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let left = value
  for (; left >= 128; left >>>= 7) bytes.push((left & 127) | 128)
  return Uint8Array.of(...bytes, left)
}
