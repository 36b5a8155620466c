/** Parses the JSON of a model file. An empty list takes two characters and fifty bytes of memory, so lists and objects are counted first. */
import { expectAtMost, forestLimits } from './forest.ts'

const openings = new Set(Buffer.from('[{'))

/** Throws `artifact_invalid` for too many lists and objects, and a SyntaxError for what is no JSON. */
export function parseModelJson(bytes: Uint8Array): unknown {
  let [lists, values] = [0, 0]
  for (const byte of bytes) {
    if (openings.has(byte)) lists++
    else if (byte === comma) values++
  }
  expectAtMost(lists, forestLimits.lists, 'lists and objects')
  expectAtMost(values, forestLimits.values, 'values')
  return JSON.parse(new TextDecoder().decode(bytes))
}
const comma = 0x2c
