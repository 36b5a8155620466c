/**
 * Reads the attributes of a node of an ONNX graph: numbers and texts, single, in lists and in tensors. Lists are counted before memory is
 * allocated.
 */
import { refuse } from '../../errors.ts'
import type { OnnxNode } from './graph.ts'
import { countIn, eachField, numbersOf, readNumbers, spanOf, wireText, type WireSpan } from './wire.ts'

export interface Attributes {
  /** Returns a text; undefined when the node does not have the attribute. The same holds for the other single values. */
  text(name: string): string | undefined
  whole(name: string): number | undefined
  number(name: string): number | undefined
  /** Returns the number of elements of a list or a tensor. */
  count(name: string): number
  /** Returns integers; empty when the node does not have the attribute. The same holds for the other lists. */
  wholes(name: string): Int32Array
  /** Returns integers beyond 32 bits, exact to 2^53; only from a list. */
  longs(name: string): Float64Array
  /** Returns numbers of 32 bits, or of 64 bits from a tensor of doubles. */
  numbers(name: string): Float32Array | Float64Array
  texts(name: string): string[]
  /** Returns the index of each text of a list among the known ones; `known.length` for any other text. */
  codes(name: string, known: readonly string[]): Int8Array
}

/** The field numbers of an attribute. */
const [numberField, wholeField, textField, tensorField] = [2, 3, 4, 5] as const
const [numberList, wholeList, textList] = [7, 8, 9] as const

/** The contents of an attribute, found in one pass, because its lists may have millions of elements. */
interface Summary {
  attribute: WireSpan
  number?: number
  whole?: number
  text?: WireSpan
  tensor?: WireSpan
  wholes: number
  numbers: number
  texts: number
}

function summaryOf(attribute: WireSpan): Summary {
  const found: Summary = { attribute, wholes: 0, numbers: 0, texts: 0 }
  eachField(attribute, (field) => {
    switch (field.number) {
      case numberField:
        found.number = field.wire === 5 ? floatAt(attribute.bytes, field.from) : NaN
        break
      case wholeField:
        found.whole = field.value
        break
      case textField:
        found.text = spanOf(attribute.bytes, field)
        break
      case tensorField:
        found.tensor = spanOf(attribute.bytes, field)
        break
      case textList:
        found.texts++
        break
      case wholeList:
        found.wholes += countIn(attribute.bytes, field, 0)
        break
      case numberList:
        found.numbers += countIn(attribute.bytes, field, 5)
        break
    }
  })
  return found
}

const floatAt = ({ buffer, byteOffset, byteLength }: Uint8Array, at: number): number =>
  new DataView(buffer, byteOffset, byteLength).getFloat32(at, true)

export function attributesOf({ attributes, op }: Pick<OnnxNode, 'attributes' | 'op'>): Attributes {
  const summaries = new Map<string, Summary>()
  const find = (name: string): Summary | undefined => {
    const attribute = attributes.get(name)
    if (attribute === undefined) return undefined
    const found = summaries.get(name) ?? summaryOf(attribute)
    summaries.set(name, found)
    return found
  }
  const numbersIn = (tensor: WireSpan, name: string): TensorNumbers =>
    readTensor(tensor) ?? refuse(`${name} of ${op} is a tensor of another type than 32 and 64 bits`)
  return {
    text(name) {
      const text = find(name)?.text
      return text && wireText(text)
    },
    whole: (name) => find(name)?.whole,
    number: (name) => find(name)?.number,
    count(name) {
      const found = find(name)
      if (found === undefined) return 0
      if (found.tensor !== undefined)
        return numbersOf(found.tensor, 1, 0).reduce((size, dim) => size * dim, 1)
      return found.texts + found.wholes + found.numbers
    },
    wholes(name) {
      const found = find(name)
      if (found === undefined) return new Int32Array(0)
      if (found.tensor !== undefined) return Int32Array.from(numbersIn(found.tensor, name))
      const list = new Int32Array(found.wholes)
      readNumbers(found.attribute, wholeList, 0, list)
      return list
    },
    longs(name) {
      const attribute = attributes.get(name)
      return attribute === undefined ? new Float64Array(0) : numbersOf(attribute, wholeList, 0)
    },
    numbers(name) {
      const found = find(name)
      if (found === undefined) return new Float32Array(0)
      if (found.tensor !== undefined) {
        const tensor = numbersIn(found.tensor, name)
        return tensor instanceof Uint8Array ? refuse(`${name} of ${op} is not a list of numbers`) : tensor
      }
      const list = new Float32Array(found.numbers)
      readNumbers(found.attribute, numberList, 5, list)
      return list
    },
    texts(name) {
      const found: string[] = []
      eachText(attributes.get(name), ({ bytes, from, to }) => found.push(wireText({ bytes, from, to })))
      return found
    },
    codes(name, known) {
      const texts = known.map((text) => new TextEncoder().encode(text))
      const found = new Int8Array(find(name)?.texts ?? 0)
      let place = 0
      eachText(attributes.get(name), (text) => {
        const code = texts.findIndex((each) => isText(text, each))
        found[place++] = code < 0 ? known.length : code
      })
      return found
    },
  }
}

function eachText(attribute: WireSpan | undefined, visit: (text: WireSpan) => void): void {
  if (attribute === undefined) return
  const text: WireSpan = { ...attribute }
  eachField(attribute, (field) => {
    if (field.number !== textList) return
    text.from = field.from
    text.to = field.wire === 2 ? field.to : field.from
    visit(text)
  })
}

function isText({ bytes, from, to }: WireSpan, wanted: Uint8Array): boolean {
  if (to - from !== wanted.byteLength) return false
  for (let at = from; at < to; at++) if (bytes[at] !== wanted[at - from]) return false
  return true
}

type TensorNumbers = Float32Array | Float64Array | Uint8Array

/** Reads a tensor of the types that trees and layers have: 32 and 64 bits, and bytes. Undefined for another type. */
export function readTensor(tensor: WireSpan): TensorNumbers | undefined {
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
      return undefined
  }
}
