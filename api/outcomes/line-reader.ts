/** The lines of a body that is read as it comes, so that a file of any length takes the memory of its longest line. */
import { DomainError } from '../../domain/errors.ts'

export interface TextLine {
  number: number
  text: string
}

/** Lines without their ends; empty ones are left out. Throws `invalid_request` for one that is longer than `mostBytes`. */
export async function* linesOf(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<TextLine, void, undefined> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let rest: Uint8Array = new Uint8Array(0)
  let number = 0
  const lineOf = (bytes: Uint8Array): TextLine => {
    number++
    try {
      return { number, text: decoder.decode(bytes).replace(/\r$/, '') }
    } catch {
      throw new DomainError('invalid_request', `line ${number} is no UTF-8`)
    }
  }
  for await (const chunk of body) {
    let bytes = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk])
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a)) {
      const line = lineOf(bytes.subarray(0, end))
      bytes = bytes.subarray(end + 1)
      if (line.text.trim() !== '') yield line
    }
    if (bytes.byteLength > maxBytes)
      throw new DomainError('invalid_request', `line ${number + 1} has more than ${maxBytes} bytes`)
    // A copy: the rest of a large piece would keep all of it.
    rest = Uint8Array.from(bytes)
  }
  if (rest.byteLength > 0) {
    const last = lineOf(rest)
    if (last.text.trim() !== '') yield last
  }
}

/** The fields of a line of comma-separated values (RFC 4180, one record a line); nothing when its quotes do not close. */
export function fieldsOf(line: string): string[] | undefined {
  const fields: string[] = []
  let at = 0
  for (;;) {
    const quoted = /^"((?:[^"]|"")*)"(?=,|$)/.exec(line.slice(at))
    const plain = quoted === null ? /^[^",]*(?=,|$)/.exec(line.slice(at)) : null
    const found = quoted ?? plain
    if (found === null) return undefined
    fields.push(quoted === null ? found[0] : quoted[1]!.replaceAll('""', '"'))
    at += found[0].length
    if (at >= line.length) return fields
    at++
  }
}
