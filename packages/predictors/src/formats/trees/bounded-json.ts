/**
 * Parses the JSON of a model file. An empty list takes two characters and fifty bytes of memory, so lists and objects are counted first. A
 * repeated name in an object is refused, because readers interpret it differently.
 */
import { quoted, refuse } from '../../errors.ts'
import { findRepeated } from '../../json.ts'
import { expectAtMost, forestLimits } from './forest.ts'

const [quote, backslash, colon, comma] = [0x22, 0x5c, 0x3a, 0x2c] as const
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d] as const

/**
 * Parses the bytes. Throws `artifact_invalid` for too many lists and objects and for a repeated name in an object, and a SyntaxError for
 * invalid JSON.
 */
export function parseModelJson(bytes: Uint8Array): unknown {
  const { values, names } = countTokens(bytes)
  expectAtMost(values, forestLimits.values, 'values')
  const text = textOfFile(bytes)
  const value: unknown = JSON.parse(text)
  if (countNames(value) !== names)
    refuse(`the file has ${quoted(findRepeated(text) ?? '')} twice in one object`)
  return value
}

/**
 * Counts the values by their commas, and the names. Throws for too many lists and objects, for too many or too long texts, and for an
 * object with too many names, which takes ten times the memory of its text.
 */
function countTokens(bytes: Uint8Array): { values: number; names: number } {
  let [lists, values, names, texts] = [0, 0, 0, 0]
  /** The number of names in the open object, and in those around it. */
  let own = 0
  const around: number[] = []
  for (let at = 0; at < bytes.length; at++)
    switch (bytes[at]!) {
      case quote: {
        const from = at
        for (at++; at < bytes.length && bytes[at] !== quote; at++) if (bytes[at] === backslash) at++
        expectAtMost(at - from, forestLimits.textBytes, 'bytes in one text')
        expectAtMost(++texts, forestLimits.texts, 'texts')
        break
      }
      case colon:
        names++
        expectAtMost(++own, forestLimits.names, 'names in one object')
        break
      case comma:
        values++
        break
      case openList:
      case openObject:
        expectAtMost(++lists, forestLimits.lists, 'lists and objects')
        around.push(own)
        own = 0
        break
      case closeList:
      case closeObject:
        own = around.pop() ?? 0
    }
  return { values, names }
}

/** Decodes a file. Throws `artifact_invalid` for bytes that are not UTF-8. */
export function textOfFile(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return refuse('the file is not UTF-8: save it again in that encoding')
  }
}

/** Counts the names of all objects of a parsed value. */
function countNames(value: unknown): number {
  let names = 0
  const open = [value]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next !== 'object' || next === null) continue
    const inner: unknown[] = Array.isArray(next) ? next : Object.values(next)
    if (inner !== next) names += inner.length
    for (const each of inner) if (typeof each === 'object' && each !== null) open.push(each)
  }
  return names
}
