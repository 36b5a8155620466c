/** Parses the head of a prediction request. Every head that two parsers could read differently is left to Node's parser. */
import { readHeaders, type ReadHeaders } from './exchange.ts'

/** A request without its body. */
export interface RequestHead {
  path: string
  host: string
  headers: ReadHeaders
  bodyBytes: number
}

const headEnd = '\r\n\r\n'
/** Longer heads are left to Node. */
const maxHeadBytes = 8_192

/** Returns the head, with its empty line, at the start of these bytes; an empty text when the head is incomplete or too long. */
export function headOf(chunk: Buffer): string {
  const end = chunk.indexOf(headEnd)
  return end < 0 || end > maxHeadBytes ? '' : chunk.toString('latin1', 0, end + headEnd.length)
}

const requestLine = /^POST (\/[\x21-\x7e]*) HTTP\/1\.1$/
/** Matches one header line. Only tabs and spaces are trimmed from a value, so a value with a no-break space is left to Node. */
const fieldLine = /^([\w!#$%&'*+.^`|~-]+):([\t\x20-\x7e\x80-\x9f\xa1-\xff]*)$/
/** Headers that change how a request is framed, what happens to its connection, or whether it may be served. */
const unsupported: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'expect',
  'upgrade',
  'trailer',
  'proxy-connection',
  // Browser pages send these; the code behind Node's server checks the page.
  'origin',
  'sec-fetch-site',
])
/** A second value of these headers would be ambiguous. */
const single: ReadonlySet<string> = new Set([...readHeaders, 'host', 'connection', 'content-length'])

/**
 * Returns the value of any header by its lower-case name, from the text of the head. `parseHead` skips some headers, which are read only
 * here.
 */
export function headerIn(text: string, name: string): string | undefined {
  const values: string[] = []
  for (const line of text.split('\r\n').slice(1)) {
    const colon = line.indexOf(':')
    if (colon > 0 && line.slice(0, colon).toLowerCase() === name) values.push(line.slice(colon + 1).trim())
  }
  return values.length === 0 ? undefined : values.join(', ')
}

/** Parses a head. Undefined when the head is left to Node's parser, which also reports malformed heads. */
export function parseHead(text: string): RequestHead | undefined {
  const [first = '', ...lines] = text.slice(0, -headEnd.length).split('\r\n')
  const path = requestLine.exec(first)?.[1]
  if (path === undefined) return undefined
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const [, field, value] = fieldLine.exec(line) ?? []
    const name = field?.toLowerCase()
    if (name === undefined || unsupported.has(name)) return undefined
    if (!single.has(name)) continue
    if (headers[name] !== undefined) return undefined
    // Node's parser rejects a tab after a length.
    if (name === 'content-length' && value!.endsWith('\t')) return undefined
    headers[name] = value!.trim()
  }
  const { host, connection = 'keep-alive', 'content-length': bytes = '' } = headers
  if (host === undefined || connection.toLowerCase() !== 'keep-alive' || !/^\d{1,9}$/.test(bytes))
    return undefined
  return { path, host, headers, bodyBytes: Number(bytes) }
}
