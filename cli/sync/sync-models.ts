/**
 * Applies the model files: stores each definition in Postgres and each schedule in Temporal. Reports an invalid file and keeps its stored
 * model.
 */
import { basename } from 'node:path'
import { Client, Connection, defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client'
import { DomainError, isError } from '../../domain/errors.ts'
import { textsOfChange } from '../../domain/installation/model-change.ts'
import { noteOfCron } from '../../models/define/triggers/cron.ts'
import { modelOfFile, type BrokenModel } from '../../models/index.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { openStore, type Store } from '../../store/postgres.ts'
import { migrate } from '../../store/database/migrate.ts'
import { listRemovedModels, recordRemovedModels } from '../../store/maintenance/expected-work.ts'
import { resolveAlertsOfLeftTriggers } from '../../store/monitoring/alerts.ts'
import {
  noteModelChanges,
  type ModelChange,
  listModels,
  listSentModels,
  upsertModels,
  type StoredModel,
} from '../../store/registry/models.ts'
import { deleteUnusedModel, listUnsweptNames, unsweptIssue } from '../../store/registry/deleted-models.ts'
import { environmentWith, readCommandConfig, readConfig, type Config } from '../../temporal.config.ts'
import { connectionOf } from '../client/temporal-connection.ts'
import { coreAddresses } from '../client/connection.ts'
import { localActor } from '../local-actor.ts'
import { loadModelsInChild, type DeclaredModel } from './load-models.ts'
import { resumeSchedules } from '../../workflows/client/model-schedules.ts'
import { inParallel } from '../../workflows/client/in-parallel.ts'
import { listOpenWorkflows, removedNote } from '../../workflows/client/inspect.ts'
import {
  callMs,
  readSchedules,
  syncModelSchedules,
  syncRetention,
  type ListedSchedules,
  batchScheduleIds,
  drillScheduleId,
  ignoreAbsent,
  listedBatchSchedules,
  scheduleId,
  triggersScheduleId,
  type ListedSchedule,
  upsertSchedule,
  viewSchedule,
  viewScheduleId,
} from '../../workflows/client/schedules.ts'
import { readStarts, type NextStarts } from '../../workflows/client/next-starts.ts'
import { startAlerts, startMonitor, startOrWakeMonitor } from '../../workflows/client/permanent-workflows.ts'
import { monitorWorkflowId } from '../../workflows/messages.ts'
import { ensureSearchAttributes } from './search-attributes.ts'
import { requireReadablePayloads } from '../../workflows/client/payload-check.ts'
import { dataConverterOf } from '../../workflows/client/payload-codec.ts'
import type { FeatureView } from '../../domain/model/feature-view.ts'
import { isUsed, listViews, upsertView } from '../../store/features/feature-views.ts'

interface SyncedModel {
  name: string
  change: 'new' | 'changed' | 'unchanged'
  schedule: 'scheduled' | 'unscheduled'
  /** Of the schedules that the file names. */
  starts: (NextStarts & { note?: string })[]
  note?: string
}

export interface Synced extends RemovedModels {
  models: SyncedModel[]
  broken: BrokenModel[]
}

/** Number of models stored by one statement. */
const batchSize = 100
/** The maximum delay until Temporal lists a change, in ms. */
const listLagMs = 60_000

/** Restricts a sync; without it, every model file and every removed model is synced. */
export interface SyncSelection {
  models: ReadonlySet<string>
  /** Removed models to pause; other models without a file stay as they are. */
  gone: readonly string[]
}

export async function syncModels(core: {
  config: Config
  store: Store
  directory?: string
  selection?: SyncSelection
  /** Leaves models alone whose files were sent to the server. */
  spareSent?: boolean
}): Promise<Synced> {
  const { config, store, directory, selection, spareSent } = core
  const loaded = await loadModelsInChild({ directory })
  const spared = spareSent === true ? await listSentModels(store) : []
  const isSelected = (name: string) =>
    (selection === undefined || selection.models.has(name)) && !spared.includes(name)
  const models = loaded.models.filter(({ name }) => isSelected(name))
  const broken = loaded.broken.filter(({ file }) => isSelected(modelOfFile(file)))
  return withTemporal(config, async (client) => {
    const system = await readSystem(client, store, config.taskQueues.control)
    await startAlerts(client, system.taskQueue)
    await syncRetention(client, system.taskQueue, system.listed)
    const synced: SyncedModel[] = []
    for (let from = 0; from < models.length; from += batchSize) {
      const applied = await syncBatch(system, models.slice(from, from + batchSize))
      synced.push(...applied.synced)
      broken.push(...applied.broken)
    }
    await syncViews(
      system,
      models.flatMap(({ definition }) => definition.views ?? []),
    )
    // An invalid file still counts as present.
    const present = [...models.map(({ name }) => name), ...broken.map(({ file }) => modelOfFile(file))]
    const withoutFile = await pauseRemoved(system, present, selection)
    return { models: synced, broken, ...withoutFile }
  })
}

/** The system before a sync. */
interface ReadSystem {
  client: Client
  store: Store
  taskQueue: string
  listed: ListedSchedules
  /** Changes after this time may be missing from the list of schedules. */
  listedMs: number
  /** The ids of open workflows. */
  open: ReadonlySet<string>
  stored: ReadonlyMap<string, StoredModel>
  removed: ReadonlySet<string>
}

async function readSystem(client: Client, store: Store, taskQueue: string): Promise<ReadSystem> {
  return {
    client,
    store,
    taskQueue,
    listedMs: Date.now() - listLagMs,
    listed: await readSchedules(client),
    open: new Set(await listOpenWorkflows(client, taskQueue)),
    stored: new Map((await listModels(store)).map((model) => [model.name, model])),
    removed: new Set(await listRemovedModels(store)),
  }
}

/** Writes the schedules of models, stores those that Temporal accepts, and starts what must run for them. */
async function syncBatch(
  system: ReadSystem,
  batch: readonly DeclaredModel[],
): Promise<{ synced: SyncedModel[]; broken: BrokenModel[] }> {
  const { store, stored } = system
  const broken: BrokenModel[] = []
  const unswept = await listUnsweptNames(
    store,
    batch.map(({ name }) => name),
  )
  const scheduled = await inParallel(batch, async (model) => {
    const { name, definition, codeDigest, note } = model
    if (unswept.includes(name)) {
      broken.push({ file: basename(model.file), issues: [unsweptIssue(name)] })
      return []
    }
    const schedule = await syncSchedules(system, model)
    if (typeof schedule === 'string') return [{ name, definition, codeDigest, schedule, note }]
    broken.push({ file: basename(model.file), issues: schedule })
    return []
  })
  const applied = scheduled.flat()
  const changed = await store.transaction(async (database) => {
    const names = await upsertModels(database, applied)
    const noted = applied.filter(({ name }) => names.includes(name))
    await noteModelChanges(
      database,
      noted.map((model) => changeOf(stored.get(model.name), model)),
    )
    return names
  })
  await inParallel(applied, (model) => keepMonitored(system, model))
  const synced = await inParallel(applied, async (model): Promise<SyncedModel> => {
    const { name, schedule, note } = model
    const change = changed.includes(name) ? 'changed' : 'unchanged'
    const starts = await startsOf(system, model)
    return { name, change: stored.has(name) ? change : 'new', schedule, starts, note }
  })
  return { synced, broken }
}

/** Starts the monitor of a model, wakes it when its interval has changed, and resumes schedules that were paused. */
async function keepMonitored(
  { client, taskQueue, listed, open, stored, removed }: ReadSystem,
  { name, definition }: Pick<StoredModel, 'name' | 'definition'>,
): Promise<void> {
  const known = stored.get(name)
  if (known !== undefined && known.definition.monitor?.everyMs !== definition.monitor?.everyMs)
    await startOrWakeMonitor(client, name, taskQueue)
  else if (!open.has(monitorWorkflowId(name))) await startMonitor(client, name, taskQueue)
  if (hasReturned({ listed, removed }, name)) await resumeReturned(client, name, listed)
}

const hasReturned = ({ listed, removed }: Pick<ReadSystem, 'listed' | 'removed'>, name: string): boolean =>
  removed.has(name) || hasPausedSchedule(listed, name)

async function startsOf(
  system: ReadSystem,
  model: Omit<StoredModel, 'syncedAt'>,
): Promise<SyncedModel['starts']> {
  const { client, taskQueue } = system
  const listed = hasReturned(system, model.name) ? undefined : currentList(system, model)
  const starts = await readStarts(client, model.definition, taskQueue, listed)
  return starts.map((each) => ({
    ...each,
    note: each.cron === undefined ? undefined : noteOfCron(each.cron),
  }))
}

/** The list of schedules; undefined for a model with a change that it may lack. */
function currentList(
  { stored, listed, listedMs }: ReadSystem,
  { name, codeDigest }: Pick<DeclaredModel, 'name' | 'codeDigest'>,
): ListedSchedules | undefined {
  const known = stored.get(name)
  const isListed =
    known === undefined || known.codeDigest === codeDigest || Date.parse(known.syncedAt) < listedMs
  return isListed ? listed : undefined
}

/** Pauses the models without a file, of a selection only those that it names, and notes each that is newly removed. */
async function pauseRemoved(
  { client, store, listed, stored, removed }: ReadSystem,
  present: readonly string[],
  selection: SyncSelection | undefined,
): Promise<RemovedModels> {
  const spared =
    selection === undefined
      ? []
      : [...stored.keys()].filter((name) => !selection.gone.includes(name) && !removed.has(name))
  const withoutFile = await pauseGone(client, store, new Set([...spared, ...present]), listed)
  const { gone, deleted } = withoutFile
  const left = [...gone.filter((name) => !removed.has(name)), ...deleted]
  await noteModelChanges(
    store,
    left.map((model) => ({
      actor: localActor(),
      action: 'model.removed' as const,
      model,
      detail: { isDeleted: deleted.includes(model) },
    })),
  )
  await resolveAlertsOfLeftTriggers(store, await listRemovedModels(store))
  return withoutFile
}

function changeOf(
  before: StoredModel | undefined,
  { name: model, definition, codeDigest }: Omit<StoredModel, 'syncedAt'>,
): ModelChange {
  const digests = (of: Pick<StoredModel, 'definition' | 'codeDigest'>) => ({
    definition: digestOfJson(of.definition),
    code: of.codeDigest,
  })
  const detail = {
    before: before && digests(before),
    after: digests({ definition, codeDigest }),
    fields: textsOfChange(before?.definition, definition),
  }
  return { actor: localActor(), action: 'model.synced', model, detail }
}

/** Returns the issues of schedules that Temporal refuses. A refused schedule must not stop the sync of the other models. */
async function syncSchedules(system: ReadSystem, model: DeclaredModel) {
  const { client, taskQueue } = system
  const { definition } = model
  const listed = currentList(system, model)
  try {
    return await syncModelSchedules(client, definition, taskQueue, listed)
  } catch (error) {
    if (isError(error, 'invalid_model_file')) return error.context['issues'] as string[]
    throw error
  }
}

/**
 * Applies the model files to the local system, or to the system at DATABASE_URL and TEMPORAL_ADDRESS. Migrates the database and creates
 * missing search attributes first, because on several machines no `tenure up` does.
 */
export async function syncFromCheckout(selection?: SyncSelection): Promise<Synced> {
  const command = readCommandConfig()
  const { databaseUrl, temporalAddress } = coreAddresses(command)
  const config = readConfig(environmentWith({ DATABASE_URL: databaseUrl, TEMPORAL_ADDRESS: temporalAddress }))
  // A running `tenure up` has migrated its own database.
  if (command.databaseUrl !== undefined) await migrate(command.ownerDatabaseUrl ?? databaseUrl)
  const { namespace } = config.temporal
  await withTemporal(config, (_, connection) => ensureSearchAttributes(connection, namespace))
  const store = openStore(databaseUrl, { name: 'tenure models sync', max: 1 })
  try {
    return await syncModels({ config, store, selection })
  } finally {
    await store.close()
  }
}

type Interceptor = ReturnType<typeof makeGrpcRetryInterceptor>

/** Time limit of a call with its retries. A busy server with a thousand schedules takes seconds to read one. */
const maxCallMs = 30_000

const withDeadline: Interceptor = (options, nextCall) =>
  nextCall({ ...options, deadline: options.deadline ?? Date.now() + maxCallMs }) as ReturnType<Interceptor>

/** Runs `work` with a Temporal client and closes it. Throws `temporal_unavailable` where no server responds. */
export async function withTemporal<T>(
  config: Config,
  work: (client: Client, connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await Connection.connect({
    ...connectionOf(config.temporal),
    connectTimeout: callMs,
    interceptors: [withDeadline, makeGrpcRetryInterceptor(defaultGrpcRetryOptions())],
  }).catch((error: Error) => {
    if (!error.message.includes('Failed to connect before the deadline')) throw error
    const { address } = config.temporal
    throw new DomainError('temporal_unavailable', `Temporal does not respond at ${address}`, {
      remedy: 'Start it (`tenure up` starts the embedded one), or correct TEMPORAL_ADDRESS.',
    })
  })
  try {
    const { namespace, payloadKeys: keys } = config.temporal
    const taskQueues = Object.values(config.taskQueues)
    const { workflowService: service } = connection
    await requireReadablePayloads({ service, namespace, taskQueues, keys })
    return await work(
      new Client({
        connection,
        namespace,
        dataConverter: dataConverterOf(config.temporal),
      }),
      connection,
    )
  } finally {
    await connection.close()
  }
}

// Pauses the schedules of models whose file was removed: their champion keeps serving, but retraining would fail without the file. Models
// that have left nothing are deleted.

const schedulesOf = (model: string, listed: ListedSchedules): string[] => [
  scheduleId(model),
  drillScheduleId(model),
  triggersScheduleId(model),
  ...listedBatchSchedules(listed, model),
]

const isPausedAsRemoved = (state?: Pick<ListedSchedule, 'paused' | 'note'>): boolean =>
  state?.paused === true && state.note === removedNote

/** Whether a schedule of the model is listed as paused because its file was removed. */
const hasPausedSchedule = (listed: ListedSchedules, model: string): boolean =>
  schedulesOf(model, listed).some((id) => isPausedAsRemoved(listed.get(id)))

interface RemovedModels {
  /** Kept without a file; their schedules are paused. */
  gone: string[]
  /** Deleted with their schedules. Their monitor ends with its next window. */
  deleted: string[]
}

/** Pauses the schedules of models without a file, and deletes those of them that nothing refers to. */
export async function pauseGone(
  client: Client,
  store: Store,
  present: ReadonlySet<string>,
  listed: ListedSchedules = new Map(),
): Promise<RemovedModels> {
  // Sent files lie in the database and not in the project.
  const models = (await listModels(store)).filter(
    ({ name, filesDigest }) => filesDigest === undefined && !present.has(name),
  )
  const removed = models.map(({ name }) => name)
  // Temporal may not list a schedule of a moment ago.
  const ids = ({ name, definition }: StoredModel) =>
    new Set([...schedulesOf(name, listed), ...batchScheduleIds(name, definition)])
  const unpaused = models
    .flatMap((model) => [...ids(model)])
    .filter((id) => !isPausedAsRemoved(listed.get(id)))
  await inParallel(unpaused, (id) => client.schedule.getHandle(id).pause(removedNote).catch(ignoreAbsent))
  await recordRemovedModels(store, removed)
  const deleted: string[] = []
  for (const model of removed) if (await deleteUnusedModel(store, model)) deleted.push(model)
  if (deleted.length === 0) return { gone: removed, deleted }
  await inParallel(
    models.flatMap((model) => (deleted.includes(model.name) ? [...ids(model)] : [])),
    (id) => client.schedule.getHandle(id).delete().catch(ignoreAbsent),
  )
  const gone = removed.filter((model) => !deleted.includes(model))
  await recordRemovedModels(store, gone)
  return { gone, deleted }
}

/** Resumes the schedules of a restored model file. Schedules paused by an operator stay paused. */
export async function resumeReturned(
  client: Client,
  model: string,
  listed: ListedSchedules = new Map(),
): Promise<void> {
  await resumeSchedules(client, schedulesOf(model, listed))
}

// Stores the feature views of the model files with their schedules, and deletes the schedules of unused views.

/** Runs after the models are stored, because usage is read from them. */
export async function syncViews(
  core: { client: Client; store: Store; taskQueue: string; listed?: ListedSchedules },
  views: readonly FeatureView[],
): Promise<void> {
  const { client, store, taskQueue, listed } = core
  await inParallel(views, async (view) => {
    await upsertView(store, view)
    await upsertSchedule(client, viewSchedule(view, taskQueue), listed)
  })
  const stored = await listViews(store)
  const unused = stored.filter((each) => !isUsed(each))
  await inParallel(unused, (each) =>
    client.schedule.getHandle(viewScheduleId(each)).delete().catch(ignoreAbsent),
  )
}
