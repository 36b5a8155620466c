/**
 * Parses a form with large files. The parser of `Response` copies each file and blocks the event loop meanwhile. So the files are cut out
 * at the boundary first, and the parser reads the rest: the heads of the parts, and the texts.
 */
import { setImmediate as otherEvents } from 'node:timers/promises'
import { MIMEType } from 'node:util'
import { DomainError } from '../../../domain/errors.ts'
import { sliceBytes } from '../../../store/objects/slices.ts'
import { tooLarge } from '../../http/read-body.ts'
import { commandLimits } from '../../http/route.ts'

/** The content of a larger part is cut out. */
const maxTextBytes = 65_536
const maxHeadBytes = 16_384

export interface FormPart {
  name: string
  /** A file has bytes, and a text is a string. */
  value: string | Buffer
}

/** Throws `invalid_request` for a body that is no form, and `body_too_large` for more than 1 MiB beside the files. */
export async function parseMultipart(body: Buffer, contentType: string): Promise<FormPart[]> {
  const { contents, rest } = await cutOut(body, boundaryOf(contentType))
  const form = await new Response(rest, { headers: { 'content-type': contentType } })
    .formData()
    .catch((error: Error) => unreadable(error.message))
  const entries = [...form]
  if (entries.length !== contents.length) unreadable('its parts are not separated by its boundary')
  return entries.map(([name, value], at) => {
    const content = contents[at]!
    if (typeof value !== 'string') return { name, value: content }
    if (content.byteLength > maxTextBytes)
      throw tooLarge(maxTextBytes, ` in the text ${JSON.stringify(name.slice(0, 60))}`, 'the form')
    return { name, value }
  })
}

function boundaryOf(contentType: string): string {
  try {
    const boundary = new MIMEType(contentType).params.get('boundary')
    if (boundary !== null && boundary !== '') return boundary
  } catch {
    // Not a media type.
  }
  return unreadable('its content-type has no boundary')
}

/** Returns the content of each part, and the form without the content of large parts. */
async function cutOut(
  body: Buffer,
  boundary: string,
): Promise<{ contents: Buffer[]; rest: Uint8Array<ArrayBuffer> }> {
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
  const contents: Buffer[] = []
  const kept: Buffer[] = []
  let keptBytes = 0
  const keep = (bytes: Buffer): void => {
    keptBytes += bytes.byteLength
    if (keptBytes > commandLimits.bytes) throw tooLarge(commandLimits.bytes, ' beside its files', 'the form')
    kept.push(bytes)
  }
  // The first delimiter may lack its line break.
  const opening = delimiter.subarray(2)
  const isFirst = body.subarray(0, opening.byteLength).equals(opening)
  let at = isFirst ? opening.byteLength : (await indexInTurns(body, delimiter, 0)) + delimiter.byteLength
  if (at > body.byteLength) unreadable('its boundary is missing')
  keep(body.subarray(0, at))
  while (at < body.byteLength && body.toString('latin1', at, at + 2) !== '--') {
    const end = await indexInTurns(body, delimiter, at)
    const head = body.subarray(at, Math.min(end, at + maxHeadBytes)).indexOf('\r\n\r\n')
    if (head < 0) unreadable('the head of a part has no end')
    const content = body.subarray(at + head + 4, end)
    contents.push(content)
    keep(body.subarray(at, content.byteLength > maxTextBytes ? at + head + 4 : end))
    at = end + delimiter.byteLength
    keep(body.subarray(end, at))
  }
  keep(body.subarray(at))
  return { contents, rest: new Uint8Array(Buffer.concat(kept)) }
}

/** Returns where the delimiter begins, or the end of the body. */
async function indexInTurns(body: Buffer, delimiter: Buffer, from: number): Promise<number> {
  for (let at = from; at < body.byteLength; at += sliceBytes) {
    const found = body.subarray(at, at + sliceBytes + delimiter.byteLength - 1).indexOf(delimiter)
    if (found >= 0) return at + found
    await otherEvents()
  }
  return body.byteLength
}

function unreadable(why: string): never {
  throw new DomainError('invalid_request', `the form cannot be read: ${why}`)
}
