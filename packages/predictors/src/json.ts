/** Measures JSON before it is parsed, and finds what a parser hides: a key that stands twice in one object. */

/** Maximum levels of nesting. */
export const maxDepth = 64

export type Excess = 'depth' | 'values'

const quote = 0x22
const comma = 0x2c
const colon = 0x3a
const openList = 0x5b
const backslash = 0x5c
const closeList = 0x5d
const open = 0x7b
const close = 0x7d

/**
 * What exceeds its limit, absent when nothing does, and the number of names of fields. Values are counted by commas and brackets outside
 * of texts.
 */
export function measureJson(bytes: Uint8Array, maxValues = Infinity): { excess?: Excess; names: number } {
  let depth = 0
  let values = 0
  let names = 0
  let inText = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!
    if (byte === quote) inText = !inText
    else if (inText) {
      // An escaped quote does not end the text.
      if (byte === backslash) i++
    } else if (byte === openList || byte === open) {
      if (++depth > maxDepth) return { excess: 'depth', names }
      values++
    } else if (byte === closeList || byte === close) depth--
    else if (byte === comma) values++
    else if (byte === colon) names++
    if (values > maxValues) return { excess: 'values', names }
  }
  return { names }
}

/** The first key that stands twice in one object of a valid text. */
export function findRepeated(text: string): string | undefined {
  const objects: Set<string>[] = []
  for (let i = 0; i < text.length; i++) {
    const sign = text[i]
    if (sign === '{') objects.push(new Set())
    else if (sign === '}') objects.pop()
    if (sign !== '"') continue
    const start = i
    for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++
    let next = i + 1
    while (/\s/.test(text[next] ?? '')) next++
    if (text[next] !== ':') continue
    const name = JSON.parse(text.slice(start, i + 1)) as string
    const names = objects.at(-1)
    if (names?.has(name)) return name
    names?.add(name)
  }
  return undefined
}
