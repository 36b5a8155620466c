/** `/v1/models/:name/files`: takes model files from other machines, and decides on code that waits for an approval. */
import { z } from 'zod'
import { requireFound } from '../../../domain/errors.ts'
import { codeRoles, syncRoles } from '../../../domain/roles.ts'
import * as schema from '../../../domain/schema.ts'
import { maxArchiveBytes } from '../../../store/registry/model-files.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { booleanFlag, toWire, writtenReason } from '../../http/schemas.ts'
import { requireMediaType } from '../../http/content-type.ts'
import {
  approveFiles,
  diffWaiting,
  rejectFiles,
  showWaiting,
  syncModel,
} from '../../services/registry/sync-model.ts'

const binary = 'application/octet-stream'

const synced = {
  model: schema.text,
  digest: schema.text,
  state: schema.oneOf('unchanged', 'applied', 'waiting', 'compared'),
  change: schema.oneOf('new', 'changed', 'unchanged'),
  fields: schema.list(schema.text),
  files: schema.list(
    schema.record({ path: schema.text, change: schema.oneOf('added', 'changed', 'removed') }),
  ),
}
const syncedRow = schema.record(synced, { code: schema.text, settings: schema.text, note: schema.text })

export const modelFileRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/models/:name/files', syncRoles, {
    summary: `Send the files of a model as \`tenure models sync\` packs them: a tar of at most ${maxArchiveBytes / 1_048_576} MiB of the model file, what it imports, its programs, and its definition as data. None of them runs before an approval. Settings of evaluation, release, monitor and threshold are applied at once; code waits for an approval, unless the key is one of an admin. With dry_run, only compare.`,
    answers: {
      200: 'The files are applied, wait for an approval, or change nothing; and what they change',
      422: 'The files are not valid; the detail names the file, the line and what to correct',
    },
    answerSchema: syncedRow,
    rawBytes: maxArchiveBytes,
    rawSchema: { type: 'string', format: 'binary' },
    contentTypes: [binary],
    query: z.strictObject({ dry_run: booleanFlag.default(false) }),
    async handle({ actor, params, query, bytes, header }) {
      requireMediaType(header('content-type'), [binary])
      const sent = { model: params['name']!, archive: bytes, isDry: query.dry_run }
      return { json: toWire(await syncModel(deps, actor!, sent)) }
    },
  }),
  defineRoute('get', '/v1/models/:name/files', viewers, {
    summary: 'Show the files of a model that wait for an approval of their code, and what they change.',
    answers: { 200: 'The files that wait' },
    answerSchema: schema.record(
      { ...synced, sentBy: schema.text, sentAt: schema.time },
      { code: schema.text, settings: schema.text },
    ),
    async handle({ params }) {
      const model = params['name']!
      const waiting = requireFound(await showWaiting(deps, model), { what: 'waiting file of', id: model })
      return { json: toWire(waiting) }
    },
  }),
  defineRoute('get', '/v1/models/:name/files/:digest/diff', codeRoles, {
    summary: 'Show the unified diff of files that wait against those in use, and of what they define.',
    answers: { 200: 'The diff' },
    answerSchema: schema.record({ diff: schema.text }),
    async handle({ actor, params }) {
      const named = { model: params['name']!, digest: params['digest']! }
      return { json: { diff: await diffWaiting(deps, actor!, named) } }
    },
  }),
  defineRoute('post', '/v1/models/:name/files/:digest/approve', codeRoles, {
    summary: 'Approve the code of files that wait, and apply them.',
    answers: { 200: 'The files are applied' },
    answerSchema: syncedRow,
    async handle({ actor, params }) {
      const named = { model: params['name']!, digest: params['digest']! }
      return { json: toWire(await approveFiles(deps, actor!, named)) }
    },
  }),
  defineRoute('post', '/v1/models/:name/files/:digest/reject', codeRoles, {
    summary: 'Reject the code of files that wait. They are not applied.',
    answers: { 200: 'The files are rejected' },
    answerSchema: schema.record({ model: schema.text, digest: schema.text }),
    body: z.strictObject({ reason: writtenReason }),
    async handle({ actor, params, body }) {
      const named = { model: params['name']!, digest: params['digest']! }
      await rejectFiles(deps, actor!, { ...named, ...body })
      return { json: named }
    },
  }),
]
