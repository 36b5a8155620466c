/** Reads an uploaded artifact: either its bytes alone, or a form with its file, its columns and notes about it. */
import { z } from 'zod'
import { DomainError } from '../../../domain/errors.ts'
import { maxNoteLength } from '../../../domain/model/brought-artifact.ts'
import { redacted } from '../../../domain/redact.ts'
import { requireMediaType } from '../../http/content-type.ts'
import { tooLarge } from '../../http/read-body.ts'
import type { RouteRequest } from '../../http/route.ts'
import { checkInput, pastTimeInUtc, reasonText } from '../../http/schemas.ts'
import { parseMultipart, type FormPart } from './multipart.ts'
import { uploadLimits } from '../../services/registry/check-artifact.ts'

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
  ...ofBundle
} = uploadForm.properties
export const bundleForm = { ...uploadForm, properties: ofBundle }

/** Notes about an artifact, in the query or in the form. */
export const uploadNotes = (nowMs: () => number) =>
  z.strictObject({
    trained_on: reasonText.pipe(z.string().max(maxNoteLength)).optional(),
    allow_unknown_categories: reasonText.pipe(z.string().max(maxNoteLength)).optional(),
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
  { trained_on: trainedOn, allow_unknown_categories: allowUnknownCategories, note, as_of: asOf }: Notes,
): Upload {
  if (artifact.byteLength > uploadLimits.artifactBytes)
    throw tooLarge(uploadLimits.artifactBytes, '', 'the artifact')
  if (columns !== undefined && columns.byteLength > uploadLimits.columnsBytes)
    throw tooLarge(uploadLimits.columnsBytes, '', 'columns.json')
  return { artifact, columns, trainedOn, allowUnknownCategories, note, asOf }
}
