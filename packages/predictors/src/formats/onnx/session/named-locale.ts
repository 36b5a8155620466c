/**
 * Names the locale of the operators that change the case of texts. Without a name they ask for `en_US.UTF-8`, which slim images of Linux
 * lack and which only root can install. `C.UTF-8` is part of the C library and changes the case of all scripts.
 */
import { eachField, rewritten, spanOf, wireText, type WireSpan } from '../wire.ts'

const operator = 'StringNormalizer'
/** The numbers of fields in onnx.proto. */
const [graphOfModel, nodeOfGraph, opOfNode, attributeOfNode, nameOfAttribute] = [7, 1, 4, 5, 1]

/** The attribute as a field of a node: its name, its text, and the type of texts. */
const attribute = Buffer.from('\x0a\x06locale\x22\x07C.UTF-8\xa0\x01\x03', 'latin1')
const attributeField = Buffer.concat([Uint8Array.of((attributeOfNode << 3) | 2, attribute.length), attribute])

/** Returns the file itself where no such operator lacks a name. */
export function withNamedLocale(file: Uint8Array): Uint8Array {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  if (process.platform !== 'linux' || !bytes.includes(operator)) return file
  return rewritten({ bytes, from: 0, to: bytes.byteLength }, (field, graph) =>
    field === graphOfModel
      ? rewritten(graph, (part, node) =>
          part === nodeOfGraph && lacksLocale(node)
            ? Buffer.concat([bytes.subarray(node.from, node.to), attributeField])
            : undefined,
        )
      : undefined,
  )
}

function lacksLocale(node: WireSpan): boolean {
  let [isNormalizer, hasLocale] = [false, false]
  eachField(node, (field) => {
    const content = spanOf(node.bytes, field)
    if (field.number === opOfNode) isNormalizer = wireText(content) === operator
    if (field.number === attributeOfNode)
      eachField(content, (part) => {
        if (part.number === nameOfAttribute) hasLocale ||= wireText(spanOf(node.bytes, part)) === 'locale'
      })
  })
  return isNormalizer && !hasLocale
}
