/** Takes the files of a model that were sent with a key: checks them, compares them with those in use, and applies or keeps them. */
import { DomainError, isError } from '../../../domain/errors.ts'
import { changedFiles, codeChange, type FileChange } from '../../../domain/installation/model-files.ts'
import { textsOfChange } from '../../../domain/installation/model-change.ts'
import { codeRoles } from '../../../domain/roles.ts'
import { digestOf, digestOfJson } from '../../../store/artifacts.ts'
import { appendAudit, type Transaction } from '../../../store/audit/audit-log.ts'
import { upsertView } from '../../../store/features/feature-views.ts'
import {
  decideModelFiles,
  findModelFiles,
  findWaitingFiles,
  getModelFiles,
  putModelFiles,
  type ModelFiles,
} from '../../../store/registry/model-files.ts'
import { findModel, lockModel, upsertModels, type StoredModel } from '../../../store/registry/models.ts'
import type { Actor } from '../../auth/authentication.ts'
import { requireModelAccess } from '../../auth/authorization.ts'
import type { ApiDeps } from '../../deps.ts'
import { checkModelFiles } from './check-model-files.ts'

type Deps = Pick<ApiDeps, 'store' | 'temporal' | 'log'>

export interface SyncedFiles {
  model: string
  /** Names the files. */
  digest: string
  /** `compared`: a dry run. */
  state: 'unchanged' | 'applied' | 'waiting' | 'compared'
  change: 'new' | 'changed' | 'unchanged'
  /** What changes in the definition. */
  fields: string[]
  files: FileChange[]
  /** Why the code needs an approval; absent where none changes. */
  code?: string
  note?: string
}

/** Schedules of a model are a few calls. */
const scheduleMs = 30_000

const unchanged = (model: string, digest: string): SyncedFiles => ({
  model,
  digest,
  state: 'unchanged',
  change: 'unchanged',
  fields: [],
  files: [],
})

/**
 * Throws `forbidden` for a model outside of the key, and `invalid_model_file`. Sending the same files again changes nothing, and does not
 * check them again.
 */
export async function syncModel(
  deps: Deps,
  actor: Actor,
  { model, archive, isDry }: { model: string; archive: Buffer; isDry: boolean },
): Promise<SyncedFiles> {
  requireModelAccess(actor, model)
  const { store, log } = deps
  const digest = digestOf(archive)
  const stored = await findModel(store, model)
  const waiting = await findWaitingFiles(store, model)
  const same = async (): Promise<SyncedFiles> => {
    // Files that were taken back, such as by a reverted commit, wait no longer.
    if (waiting !== undefined && waiting.digest !== digest && !isDry)
      await end(store, actor, { model, digest: waiting.digest, reason: 'the files in use were sent again' })
    return unchanged(model, digest)
  }
  if (stored?.filesDigest === digest) return same()
  const checked = waiting?.digest === digest ? waiting : await checkModelFiles(model, archive)
  const sent = { ...checked, model, digest, archive, sentBy: actor.name }
  if (
    stored?.codeDigest === checked.codeDigest &&
    digestOfJson(stored.definition) === digestOfJson(checked.definition)
  )
    return same()
  const difference = await compare(deps, stored, sent)
  const answer = { ...difference, note: 'note' in checked ? checked.note : undefined }
  if (isDry) return { ...answer, state: 'compared' }
  if (difference.code === undefined || codeRoles.includes(actor.role)) {
    await apply(deps, actor, { ...sent, state: 'applied' }, { ...difference, stored })
    return { ...answer, state: 'applied' }
  }
  if (waiting?.digest !== digest)
    await store.transaction(async (database) => {
      await putModelFiles(database, { ...sent, state: 'waiting' })
      await audit(database, actor, 'model.sent', difference)
    })
  log.info({ model, files: digest, by: actor.name }, 'model files wait for an approval of their code')
  return { ...answer, state: 'waiting' }
}

/** Shows the files that wait, with what they change. */
export async function showWaiting(
  deps: Deps,
  model: string,
): Promise<(SyncedFiles & Pick<ModelFiles, 'sentBy' | 'sentAt'>) | undefined> {
  const waiting = await findWaitingFiles(deps.store, model)
  if (waiting === undefined) return undefined
  const { sentBy, sentAt } = waiting
  const difference = await compare(deps, await findModel(deps.store, model), waiting)
  return { ...difference, state: 'waiting', sentBy, sentAt }
}

/** Applies files that wait. Throws `command_refused` for files that wait no longer. */
export async function approveFiles(
  deps: Deps,
  actor: Actor,
  named: Pick<ModelFiles, 'model' | 'digest'>,
): Promise<SyncedFiles> {
  const waiting = await requireWaiting(deps, actor, named)
  const stored = await findModel(deps.store, named.model)
  const difference = await compare(deps, stored, waiting)
  await apply(deps, actor, waiting, { ...difference, stored })
  return { ...difference, state: 'applied' }
}

/** Ends the wait of files, which are then never run. */
export async function rejectFiles(
  deps: Deps,
  actor: Actor,
  { reason, ...named }: Pick<ModelFiles, 'model' | 'digest'> & { reason?: string },
): Promise<void> {
  await requireWaiting(deps, actor, named)
  if (!(await end(deps.store, actor, { ...named, reason }))) throw decided(named)
}

/** Ends the wait with an audit row. False for files that wait no longer. */
const end = (
  store: Deps['store'],
  actor: Actor,
  { model, digest, reason }: Pick<ModelFiles, 'model' | 'digest'> & { reason: string | undefined },
): Promise<boolean> =>
  store.transaction(async (database) => {
    if (!(await decideModelFiles(database, { model, digest, state: 'rejected', by: actor.name })))
      return false
    await appendAudit(database, {
      actor: actor.name,
      action: 'model.code_rejected',
      subject: model,
      model,
      detail: { files: digest, reason },
    })
    return true
  })

async function requireWaiting(
  { store }: Deps,
  actor: Actor,
  named: Pick<ModelFiles, 'model' | 'digest'>,
): Promise<ModelFiles> {
  requireModelAccess(actor, named.model)
  const found = await getModelFiles(store, named)
  if (found.state !== 'waiting') throw decided(named)
  return found
}

const decided = ({ model, digest }: Pick<ModelFiles, 'model' | 'digest'>): DomainError =>
  new DomainError(
    'command_refused',
    `the files ${digest.slice(0, 19)} of ${model} wait no longer: newer ones were sent, or a user has decided`,
  )

type Difference = Omit<SyncedFiles, 'state' | 'note'>

async function compare(
  { store }: Deps,
  stored: StoredModel | undefined,
  { model, digest, definition, files }: Pick<ModelFiles, 'model' | 'digest' | 'definition' | 'files'>,
): Promise<Difference> {
  const before =
    stored?.filesDigest === undefined
      ? undefined
      : await findModelFiles(store, { model, digest: stored.filesDigest })
  return {
    model,
    digest,
    change: stored === undefined ? 'new' : 'changed',
    fields: textsOfChange(stored?.definition, definition),
    files: changedFiles(before?.files ?? {}, files),
    code: codeChange(before, { definition, files }),
  }
}

/** Stores the definition and its files with an audit row, once Temporal has its schedules. */
async function apply(
  { store, temporal, log }: Deps,
  actor: Actor,
  files: Omit<ModelFiles, 'sentAt'>,
  { stored, ...difference }: Difference & { stored: StoredModel | undefined },
): Promise<void> {
  // Loads the SDK, which a replica avoids until it needs Temporal.
  const { applyModelSchedules } = await import('../../../workflows/client/model-schedules.ts')
  const { model: name, definition, codeDigest, digest } = files
  const views = definition.views ?? []
  await store.transaction(async (database) => {
    const before = await lockModel(database, name)
    if (before?.filesDigest !== stored?.filesDigest || before?.codeDigest !== stored?.codeDigest)
      throw new DomainError('command_refused', `${name} was changed in the meantime: send its files again`)
    if (files.state === 'waiting') {
      if (!(await decideModelFiles(database, { model: name, digest, state: 'applied', by: actor.name })))
        throw decided({ model: name, digest })
    } else await putModelFiles(database, files)
    await upsertModels(database, [{ name, definition, codeDigest, filesDigest: digest }])
    for (const view of views) await upsertView(database, view)
    await audit(database, actor, 'model.synced', difference, {
      before: before && { definition: digestOfJson(before.definition), code: before.codeDigest },
      after: { definition: digestOfJson(definition), code: codeDigest },
      sentBy: files.sentBy,
    })
    await temporal
      .call(scheduleMs, (client) =>
        applyModelSchedules(client, {
          before: before?.definition,
          definition,
          taskQueue: temporal.taskQueue,
        }),
      )
      .catch((error: unknown) => {
        if (!isError(error, 'invalid_model_file')) throw error
        const issues = error.context['issues'] as string[]
        throw new DomainError('invalid_model_file', `${name}: ${issues.join('; ')}`, { issues })
      })
  })
  log.info({ model: name, files: digest, by: actor.name, sentBy: files.sentBy }, 'model files applied')
}

async function audit(
  database: Transaction,
  actor: Actor,
  action: 'model.sent' | 'model.synced',
  { model, digest, fields, files, code }: Difference,
  more: object = {},
): Promise<void> {
  await appendAudit(database, {
    actor: actor.name,
    action,
    subject: model,
    model,
    detail: {
      files: digest,
      fields,
      changed: files.map(({ path, change }) => `${path} ${change}`),
      code,
      ...more,
    },
  })
}
