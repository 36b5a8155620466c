/** Takes the files of a model that were sent with a key: checks them, compares them with those in use, and applies or keeps them. */
import { isUtf8 } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { DomainError, isError } from '../../../domain/errors.ts'
import {
  changedFiles,
  codeChange,
  fieldOfCode,
  type CheckedFiles,
  type FileChange,
} from '../../../domain/installation/model-files.ts'
import { issueOfForeignPath, type BatchSpec } from '../../../domain/model/batch-spec.ts'
import { loosenedField } from '../../../domain/installation/loosening.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { textsOfChange } from '../../../domain/installation/model-change.ts'
import { codeRoles } from '../../../domain/roles.ts'
import { digestOf, digestOfJson } from '../../../store/artifacts.ts'
import { appendAudit, type Transaction } from '../../../store/audit/audit-log.ts'
import { changesViewOfOthers, findView, upsertView } from '../../../store/features/feature-views.ts'
import {
  decideModelFiles,
  findModelFiles,
  findWaitingFiles,
  getModelFiles,
  markApproved,
  printedEntry,
  putModelFiles,
  unpackModelFiles,
  type ModelFiles,
} from '../../../store/registry/model-files.ts'
import { listUnsweptNames, unsweptIssue } from '../../../store/registry/deleted-models.ts'
import { findModel, lockModel, upsertModels, type StoredModel } from '../../../store/registry/models.ts'
import type { loadFiles } from '../../../workflows/index.ts'
import type { Actor } from '../../auth/authentication.ts'
import { requireModelAccess } from '../../auth/authorization.ts'
import type { ApiDeps } from '../../deps.ts'
import { isTimeout } from '../../temporal/errors.ts'
import { checkModelFiles } from './check-model-files.ts'
import { unifiedDiff } from './file-diff.ts'

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
  /** That the settings among the fields need none: they are in force whatever is decided about the code. */
  settings?: string
  note?: string
}

/** Schedules of a model are a few calls. */
const scheduleMs = 30_000

/**
 * Throws `forbidden` for a model outside of the key, `invalid_model_file`, and `overloaded`. Sending the same files again changes nothing, and
 * does not check them again. Settings are data and applied at once; code waits, and the workers go on with the code that was approved.
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
  const known = await findModelFiles(store, { model, digest })
  const checked: CheckedFiles = known ?? (await checkModelFiles(actor, model, archive))
  const { definition, codeDigest, files, note } = checked
  requireOwnFiles(actor, stored?.definition, definition)
  const sent = { model, digest, archive, definition, codeDigest, files, sentBy: actor.name }
  const difference = await compare(deps, stored, sent)
  const { code, fields } = difference
  const answer: SyncedFiles = { ...difference, note, state: 'compared' }
  const isSame = code === undefined && fields.length === 0
  if (isDry) return isSame ? { ...answer, state: 'unchanged', change: 'unchanged' } : answer
  const mayApply = codeRoles.includes(actor.role)
  // Files that were taken back, such as by a reverted commit, wait no longer.
  if (code === undefined && waiting !== undefined && waiting.digest !== digest)
    await end(store, actor, { model, digest: waiting.digest, reason: 'the code in use was sent again' })
  if (isSame) return { ...answer, state: 'unchanged', change: 'unchanged' }
  if (code !== undefined && mayApply) {
    await putModelFiles(store, { ...sent, state: 'waiting' })
    return { ...(await approveFiles(deps, actor, sent)), note }
  }
  if (difference.settings !== undefined && fields.length > 0 && stored !== undefined)
    await apply(deps, actor, {
      ...difference,
      files: [],
      code: undefined,
      stored,
      sentBy: actor.name,
      row: { ...stored, definition },
    })
  if (code === undefined) return { ...answer, state: 'applied' }
  if (waiting?.digest !== digest)
    await store.transaction(async (database) => {
      await putModelFiles(database, { ...sent, state: 'waiting' })
      await audit(database, actor, 'model.sent', difference)
    })
  log.info({ model, files: digest, by: actor.name }, 'model files wait for an approval of their code')
  return { ...answer, state: 'waiting' }
}

const rowOf = ({ model: name, definition, codeDigest, digest }: Omit<ModelFiles, 'sentAt' | 'state'>) => ({
  name,
  definition,
  codeDigest,
  filesDigest: digest,
})

/** Throws `forbidden` where a key of some models has a new batch read or write files outside of the folder of its model. */
function requireOwnFiles(
  { models }: Actor,
  before: ModelDefinition | undefined,
  { name, batches = [] }: ModelDefinition,
): void {
  if (models === undefined) return
  const known = new Set((before?.batches ?? []).map((each) => digestOfJson(filesOf(each))))
  for (const batch of batches) {
    const issue = known.has(digestOfJson(filesOf(batch))) ? undefined : issueOfForeignPath(name, batch)
    if (issue !== undefined) throw new DomainError('forbidden', `batch ${batch.name}: ${issue}`)
  }
}

const filesOf = ({ input, output }: Pick<BatchSpec, 'input' | 'output'>) => ({ input, output })

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

/**
 * Returns the unified diff of files that wait against those in use, and of what they define. Bytes that are no text are shown as their
 * digest.
 */
export async function diffWaiting(
  deps: Deps,
  actor: Actor,
  named: Pick<ModelFiles, 'model' | 'digest'>,
): Promise<string> {
  const { store } = deps
  const { archive, definition } = await requireWaiting(deps, actor, named)
  const stored = await findModel(store, named.model)
  const used =
    stored?.filesDigest === undefined
      ? undefined
      : await findModelFiles(store, { model: named.model, digest: stored.filesDigest })
  const before = textsOf(used?.archive)
  const after = textsOf(archive)
  before.set('the definition', stored && `${JSON.stringify(stored.definition, undefined, 2)}\n`)
  after.set('the definition', `${JSON.stringify(definition, undefined, 2)}\n`)
  const names = [...new Set([...before.keys(), ...after.keys()])].sort()
  return names.map((name) => unifiedDiff(name, before.get(name), after.get(name))).join('')
}

function textsOf(archive: Buffer | undefined): Map<string, string | undefined> {
  const files = archive === undefined ? [] : [...unpackModelFiles(archive)]
  return new Map(
    files.flatMap(([name, bytes]) => {
      if (name === printedEntry) return []
      const isText = isUtf8(bytes) && !bytes.includes(0)
      return [[name, isText ? bytes.toString() : `${bytes.length} bytes, ${digestOf(bytes)}\n`] as const]
    }),
  )
}

/**
 * Has a worker load files that wait, and applies them. Throws `command_refused` for files that wait no longer, `overloaded` when no worker has
 * loaded them in time, and `invalid_model_file` for those that
 * define something else than the data that was approved: they are rejected, and nothing is applied.
 */
export async function approveFiles(
  deps: Deps,
  actor: Actor,
  named: Pick<ModelFiles, 'model' | 'digest'>,
): Promise<SyncedFiles> {
  const { store } = deps
  const { model, digest } = named
  const waiting = await requireWaiting(deps, actor, named)
  await requireViewAccess(deps, actor, waiting.definition)
  const stored = await findModel(store, model)
  const difference = await compare(deps, stored, waiting)
  if (!(await markApproved(store, { model, digest, by: actor.name }))) throw decided(named)
  const { issue } = await loadInWorker(deps, model)
  if (issue !== undefined) {
    // The text is one of the worker, and the audit row is one of the approver.
    await end(store, actor, {
      model,
      digest,
      reason: 'the files do not load, or define something else than their data',
    })
    throw new DomainError('invalid_model_file', `${model}: ${issue}: none of them is applied`, {
      issues: [issue],
    })
  }
  const applied = { ...difference, stored, sentBy: waiting.sentBy, row: rowOf(waiting) }
  await apply(deps, actor, applied, async (database) => {
    if (!(await decideModelFiles(database, { model, digest, state: 'applied', by: actor.name })))
      throw decided(named)
  })
  return { ...difference, state: 'applied' }
}

/** More than a worker takes that has another file to load. */
const loadMs = 280_000

async function loadInWorker({ temporal }: Deps, model: string): Promise<{ issue?: string }> {
  try {
    return await temporal.command(loadMs, (client) =>
      client.workflow.execute<typeof loadFiles>('loadFiles', {
        workflowId: `load-files/${model}/${randomUUID()}`,
        taskQueue: temporal.taskQueue,
        args: [{ model }],
        workflowExecutionTimeout: loadMs,
      }),
    )
  } catch (error) {
    if (!isTimeout(error)) throw error
    throw new DomainError(
      'overloaded',
      `no worker has loaded the files of ${model} in time. They still wait: approve them again`,
    )
  }
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
  const used =
    stored?.filesDigest === undefined
      ? undefined
      : await findModelFiles(store, { model, digest: stored.filesDigest })
  // Settings may have changed since the files in use were applied.
  const before = stored && used && { definition: stored.definition, files: used.files }
  const fields = textsOfChange(stored?.definition, definition)
  const shared = await sharedViews(store, definition)
  const isSettings =
    before !== undefined &&
    fieldOfCode(before.definition, definition) === undefined &&
    loosenedField(before.definition, definition) === undefined
  return {
    model,
    digest,
    change: stored === undefined ? 'new' : 'changed',
    fields: [
      ...fields,
      ...shared.map(({ name, models }) => `the view ${name} of ${models.join(', ') || 'other models'} too`),
    ],
    files: changedFiles(used?.files ?? {}, files),
    code: codeChange(before, { definition, files }),
    settings: isSettings && fields.length > 0 ? 'applied at once' : undefined,
  }
}

/**
 * The views that the definition changes for other models, with the names of those that the key may see. Their query stays: it is part of the
 * digest that names a view.
 */
async function sharedViews(
  store: Deps['store'],
  { name, views = [] }: ModelDefinition,
): Promise<{ name: string; models: string[] }[]> {
  const found = await Promise.all(
    views.map(async (view) => ({
      name: view.name,
      isShared: await changesViewOfOthers(store, { view, models: [name] }),
      models: (await findView(store, view.digest))?.models.filter((model) => model !== name) ?? [],
    })),
  )
  return found.filter(({ isShared }) => isShared)
}

/** Throws `forbidden` where the definition changes a view of a model outside of the key. */
async function requireViewAccess(
  { store }: Deps,
  { name: key, models }: Actor,
  { name, views = [] }: ModelDefinition,
): Promise<void> {
  if (models === undefined) return
  for (const view of views)
    if (await changesViewOfOthers(store, { view, models: [name, ...models] }))
      throw new DomainError(
        'forbidden',
        `the key ${key} has no access to all models that use the view ${view.name}`,
      )
}

interface Applied extends Difference {
  stored: StoredModel | undefined
  sentBy: string
  /** The new row of the model. */
  row: Omit<StoredModel, 'syncedAt'>
}

/** Stores a row of a model with an audit row, once Temporal has its schedules. `putFiles` stores the files that it names. */
async function apply(
  { store, temporal, log }: Deps,
  actor: Actor,
  { stored, sentBy, row, ...difference }: Applied,
  putFiles?: (database: Transaction) => Promise<void>,
): Promise<void> {
  // Loads the SDK, which a replica avoids until it needs Temporal.
  const { applyModelSchedules } = await import('../../../workflows/client/model-schedules.ts')
  const { name, definition, codeDigest } = row
  await store.transaction(async (database) => {
    const before = await lockModel(database, name)
    if (
      before?.filesDigest !== stored?.filesDigest ||
      before?.codeDigest !== stored?.codeDigest ||
      digestOfJson(before?.definition ?? null) !== digestOfJson(stored?.definition ?? null)
    )
      throw new DomainError('command_refused', `${name} was changed in the meantime: send its files again`)
    if ((await listUnsweptNames(database, [name])).length > 0)
      throw new DomainError('command_refused', unsweptIssue(name))
    await putFiles?.(database)
    await upsertModels(database, [row])
    for (const view of definition.views ?? []) await upsertView(database, view)
    await audit(database, actor, 'model.synced', difference, {
      before: before && { definition: digestOfJson(before.definition), code: before.codeDigest },
      after: { definition: digestOfJson(definition), code: codeDigest },
      sentBy,
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
  log.info({ model: name, files: difference.digest, by: actor.name, sentBy }, 'model files applied')
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
