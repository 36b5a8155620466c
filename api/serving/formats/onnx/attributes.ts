/** Reads the attributes of a node of an ONNX graph: numbers and texts, alone, in lists and in tensors. Lists are counted before memory is taken. */
import { refuse } from '../../network/layers-model.ts'
import type { OnnxNode } from './graph.ts'
import { countNumbers, eachField, numbersOf, readNumbers, spanOf, wireText, type WireSpan } from './wire.ts'

export interface Attributes {
  /** Undefined for an attribute that the node does not have, as the next. */
  text(name: string): string | undefined
  whole(name: string): number | undefined
  /** How many numbers or texts a list or a tensor has. */
  count(name: string): number
  /** Empty for an attribute that the node does not have, as all lists. */
  wholes(name: string): Int32Array
  /** Of 32 bits, or of 64 in a tensor of them. */
  numbers(name: string): Float32Array | Float64Array
  texts(name: string): string[]
}

/** Fields of an attribute. */
const [wholeField, textField, tensorField, numberList, wholeList, textList] = [3, 4, 5, 7, 8, 9] as const

export function attributesOf({ attributes, op }: Pick<OnnxNode, 'attributes' | 'op'>): Attributes {
  const find = (name: string, number: number): { value: number; content: WireSpan } | undefined => {
    const attribute = attributes.get(name)
    let found: { value: number; content: WireSpan } | undefined
    if (attribute !== undefined)
      eachField(attribute, (field) => {
        if (field.number === number) found = { value: field.value, content: spanOf(attribute.bytes, field) }
      })
    return found
  }
  const tensorOf = (name: string): TensorNumbers | undefined => {
    const found = find(name, tensorField)
    return found && readTensor(found.content, `${name} of ${op}`)
  }
  return {
    text(name) {
      const found = find(name, textField)
      return found && wireText(found.content)
    },
    whole: (name) => find(name, wholeField)?.value,
    count(name) {
      const attribute = attributes.get(name)
      if (attribute === undefined) return 0
      const tensor = find(name, tensorField)
      if (tensor !== undefined) return numbersOf(tensor.content, 1, 0).reduce((size, dim) => size * dim, 1)
      let texts = 0
      eachField(attribute, (field) => {
        if (field.number === textList) texts++
      })
      return texts + countNumbers(attribute, wholeList, 0) + countNumbers(attribute, numberList, 5)
    },
    wholes(name) {
      const attribute = attributes.get(name)
      if (attribute === undefined) return new Int32Array(0)
      const tensor = tensorOf(name)
      if (tensor !== undefined) return Int32Array.from(tensor)
      const found = new Int32Array(countNumbers(attribute, wholeList, 0))
      readNumbers(attribute, wholeList, 0, found)
      return found
    },
    numbers(name) {
      const attribute = attributes.get(name)
      if (attribute === undefined) return new Float32Array(0)
      const tensor = tensorOf(name)
      if (tensor !== undefined)
        return tensor instanceof Uint8Array ? refuse(`${name} of ${op} is no list of numbers`) : tensor
      const found = new Float32Array(countNumbers(attribute, numberList, 5))
      readNumbers(attribute, numberList, 5, found)
      return found
    },
    texts(name) {
      const attribute = attributes.get(name)
      const found: string[] = []
      if (attribute !== undefined)
        eachField(attribute, (field) => {
          if (field.number === textList) found.push(shared(wireText(spanOf(attribute.bytes, field))))
        })
      return found
    },
  }
}

/** The same text once: a list of modes repeats a few of them a million times. */
function shared(text: string): string {
  const found = texts.get(text)
  if (found !== undefined || texts.size >= maxShared || text.length > 20) return found ?? text
  texts.set(text, text)
  return text
}
const texts = new Map<string, string>()
const maxShared = 100

type TensorNumbers = Float32Array | Float64Array | Uint8Array

/** Of the types that trees have: 32 and 64 bits, and bytes. */
function readTensor(tensor: WireSpan, what: string): TensorNumbers {
  let type = 0
  let raw: WireSpan | undefined
  eachField(tensor, (field) => {
    if (field.number === 2) type = field.value
    else if (field.number === 9) raw = spanOf(tensor.bytes, field)
  })
  const bytes = raw && Uint8Array.from(raw.bytes.subarray(raw.from, raw.to))
  switch (type) {
    case 1:
      return bytes ? new Float32Array(bytes.buffer) : Float32Array.from(numbersOf(tensor, 4, 5))
    case 11:
      return bytes ? new Float64Array(bytes.buffer) : numbersOf(tensor, 10, 1)
    case 2:
      return bytes ?? Uint8Array.from(numbersOf(tensor, 5, 0))
    default:
      return refuse(`${what} is a tensor of the type ${type}; 32 and 64 bits are read`)
  }
}
