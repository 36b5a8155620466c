/** Reads an uploaded artifact: either its bytes alone, or a form with its file, its columns and notes about it. */
import { setImmediate as otherEvents } from 'node:timers/promises'
import { MIMEType } from 'node:util'
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { maxNoteLength } from '../../../domain/model/brought-artifact.ts'
import { redacted } from '../../../domain/redact.ts'
import { requireMediaType } from '../../http/content-type.ts'
import { tooLarge } from '../../http/read-body.ts'
import { type RouteRequest, commandLimits } from '../../http/route.ts'
import { checkInput, pastTimeInUtc, reasonText } from '../../http/schemas.ts'
import { uploadLimits } from '../../services/registry/check-artifact.ts'
import { sliceBytes } from '../../../store/objects/slices.ts'

const binary = 'application/octet-stream'
const multipart = 'multipart/form-data'
export const uploadTypes = [binary, multipart]

const file = { type: 'string', format: 'binary' }
/** The fields of the form. */
export const uploadForm = {
  type: 'object',
  required: ['artifact'],
  properties: {
    artifact: file,
    columns: file,
    trained_on: { type: 'string' },
    allow_unknown_categories: { type: 'string' },
    allow_other_versions: { type: 'string' },
    note: { type: 'string' },
    as_of: { type: 'string', format: 'date-time' },
  },
  additionalProperties: false,
}

/** The fields of the form for a bundle. A bundle already contains its columns and a description of its training. */
const {
  columns: _columns,
  trained_on: _trainedOn,
  allow_unknown_categories: _allow,
  allow_other_versions: _allowVersions,
  ...ofBundle
} = uploadForm.properties
export const bundleForm = { ...uploadForm, properties: ofBundle }

/** Notes about an artifact, in the query or in the form. */
export const uploadNotes = (nowMs: () => number) =>
  z.strictObject({
    trained_on: reasonText.pipe(z.string().max(maxNoteLength)).optional(),
    allow_unknown_categories: reasonText.pipe(z.string().max(maxNoteLength)).optional(),
    allow_other_versions: reasonText.pipe(z.string().max(maxNoteLength)).optional(),
    note: reasonText.optional(),
    as_of: pastTimeInUtc(nowMs).optional(),
  })
type NotesSchema = ReturnType<typeof uploadNotes>
type Notes = z.infer<NotesSchema>

export interface Upload {
  artifact: Buffer
  /** The file `columns.json`. */
  columns?: Buffer
  trainedOn?: string
  /** Why the model may lack categories of more training rows than the limit. */
  allowUnknownCategories?: string
  /** Why its pickle may be of another minor version of its library. */
  allowOtherVersions?: string
  note?: string
  /** ISO 8601. The evaluation uses the rows that were known at this time. */
  asOf?: string
}

/** Reads an upload. Throws `invalid_request` for a form without an artifact or with unknown parts. */
export async function readUpload(
  { bytes, query, header }: Pick<RouteRequest<unknown, Notes>, 'bytes' | 'query' | 'header'>,
  notes: NotesSchema,
): Promise<Upload> {
  const type = header('content-type')
  if (requireMediaType(type, uploadTypes) !== multipart) return uploadWith({ artifact: bytes }, { ...query })
  const parts = await parseMultipart(bytes, type!)
  const files: Record<string, Buffer> = {}
  const texts: Record<string, string> = { ...query }
  requireOnce(parts)
  for (const { name, value } of parts)
    if (typeof value === 'string' && (name === 'artifact' || name === 'columns'))
      throw new DomainError(
        'invalid_request',
        `the form has "${name}" as a text: send it as a file, like curl -F ${name}=@FILE`,
      )
    else if (typeof value === 'string') texts[name] = redacted(value)
    else files[name] = value
  const { artifact, columns, ...more } = files
  const [unknown] = Object.keys(more)
  if (unknown !== undefined)
    throw new DomainError(
      'invalid_request',
      `the form has an unknown file ${JSON.stringify(unknown.slice(0, 60))}`,
    )
  if (artifact === undefined) throw new DomainError('invalid_request', 'the form has no file "artifact"')
  return uploadWith({ artifact, columns }, checkInput(notes, texts, 'the form'))
}

/** Throws for a name that occurs again. */
function requireOnce(parts: readonly FormPart[]): void {
  const counts = new Map<string, number>()
  for (const { name } of parts) counts.set(name, (counts.get(name) ?? 0) + 1)
  for (const [name, count] of counts)
    if (count > 1)
      throw new DomainError(
        'invalid_request',
        `the form has ${JSON.stringify(name.slice(0, 60))} ${count} times`,
      )
}

function uploadWith(
  { artifact, columns }: Pick<Upload, 'artifact' | 'columns'>,
  {
    trained_on: trainedOn,
    allow_unknown_categories: allowUnknownCategories,
    allow_other_versions: allowOtherVersions,
    note,
    as_of: asOf,
  }: Notes,
): Upload {
  if (artifact.byteLength > uploadLimits.artifactBytes)
    throw tooLarge(uploadLimits.artifactBytes, '', 'the artifact')
  if (columns !== undefined && columns.byteLength > uploadLimits.columnsBytes)
    throw tooLarge(uploadLimits.columnsBytes, '', 'columns.json')
  return { artifact, columns, trainedOn, allowUnknownCategories, allowOtherVersions, note, asOf }
}

// Parses a form with large files. The parser of `Response` copies each file and blocks the event loop meanwhile. So the files are cut out
// at the boundary first, and the parser reads the rest: the heads of the parts, and the texts.

/** The content of a larger part is cut out. */
const maxTextBytes = 65_536
const maxHeadBytes = 16_384

interface FormPart {
  name: string
  /** A file has bytes, and a text is a string. */
  value: string | Buffer
}

/** Throws `invalid_request` for a body that is no form, and `body_too_large` for more than 1 MiB beside the files. */
async function parseMultipart(body: Buffer, contentType: string): Promise<FormPart[]> {
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
