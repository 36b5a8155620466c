/** Splits a streamed body into lines, so that memory is limited by the longest line. */
import { DomainError } from '../../domain/errors.ts'

export interface TextLine {
  number: number
  text: string
}

/** Throws for a body without a line. A failed export writes such a file, and the sender must see an error. */
export function requireLines(count: number): void {
  if (count === 0) throw new DomainError('invalid_request', 'the body has no lines; send at least one record')
}

/** Yields the lines and skips empty ones. Throws `invalid_request` for a line of more than `maxBytes`. */
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
      throw new DomainError('invalid_request', `line ${number} is not UTF-8`)
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
    // A view would keep the complete chunk in memory, so this copies the bytes.
    rest = Uint8Array.from(bytes)
  }
  if (rest.byteLength > 0) {
    const last = lineOf(rest)
    if (last.text.trim() !== '') yield last
  }
}

/** Returns the fields of a CSV line (RFC 4180, one record per line); undefined when a quote is not closed. */
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
