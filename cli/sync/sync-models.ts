/**
 * Applies the model files: stores each definition in Postgres and each schedule in Temporal. An invalid file is reported and
 * leaves the stored model unchanged.
 */
import { Client, Connection, defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client'
import { isError } from '../../domain/errors.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { BrokenModel } from '../../models/index.ts'
import { openStore, type Store } from '../../store/postgres.ts'
import { findModel, upsertModel } from '../../store/registry/models.ts'
import { environmentWith, readCommandConfig, readConfig, type Config } from '../../temporal.config.ts'
import { connectionOf } from '../client/temporal-connection.ts'
import { coreAddresses } from '../client/connection.ts'
import { loadModelsInChild } from './load-models.ts'
import { pauseGone, resumeReturned } from './removed-models.ts'
import { inParallel } from './in-parallel.ts'
import { startAlerts, startMonitor } from '../../temporal/standing-workflows.ts'
import { syncDrills, syncRetention, syncSchedule } from '../../temporal/schedules.ts'
import { syncViews } from './sync-views.ts'

export interface Synced {
  models: { name: string; change: 'new' | 'changed' | 'unchanged'; schedule: 'scheduled' | 'unscheduled' }[]
  broken: BrokenModel[]
  /** Stored models without a file; their schedules are paused. */
  gone: string[]
}

/** Deadline of one call, whatever their number. */
const temporalMs = 10_000

export async function syncModels(core: {
  config: Config
  store: Store
  directory?: string
}): Promise<Synced> {
  const { config, store, directory } = core
  const taskQueue = config.taskQueues.control
  const { models, broken } = await loadModelsInChild({ directory })
  return withTemporal(config, async (client) => {
    await startAlerts(client, taskQueue)
    await syncRetention(client, taskQueue)
    const synced = await inParallel(models, async ({ name, definition, codeDigest }) => {
      const known = await findModel(store, name)
      const schedule = await syncSchedules(client, definition, taskQueue)
      if (typeof schedule !== 'string') {
        broken.push({ file: `${name}.ts`, issues: schedule })
        return []
      }
      const changed = await upsertModel(store, { name, definition, codeDigest })
      await startMonitor(client, name, taskQueue)
      await resumeReturned(client, name)
      const change = known === undefined ? 'new' : changed ? 'changed' : 'unchanged'
      return [{ name, change, schedule } as const]
    })
    await syncViews(
      { client, store, taskQueue },
      models.flatMap(({ definition }) => definition.views ?? []),
    )
    // An invalid file still counts as present.
    const present = [
      ...models.map(({ name }) => name),
      ...broken.map(({ file }) => file.replace(/\.ts$/, '')),
    ]
    return { models: synced.flat(), broken, gone: await pauseGone(client, store, new Set(present)) }
  })
}

/** Returns the issues of a schedule that Temporal refuses, which must not keep the other models from starting. */
async function syncSchedules(client: Client, definition: ModelDefinition, taskQueue: string) {
  try {
    const schedule = await syncSchedule(client, definition, taskQueue)
    await syncDrills(client, definition, taskQueue)
    return schedule
  } catch (error) {
    if (isError(error, 'invalid_model_file')) return error.context['issues'] as string[]
    throw error
  }
}

/** Applies the model files to the local system, or to that of DATABASE_URL and TEMPORAL_ADDRESS. */
export async function syncFromCheckout(): Promise<Synced> {
  const { databaseUrl, temporalAddress } = coreAddresses(readCommandConfig())
  const config = readConfig(environmentWith({ DATABASE_URL: databaseUrl, TEMPORAL_ADDRESS: temporalAddress }))
  const store = openStore(databaseUrl, { name: 'tenure models sync', max: 1 })
  try {
    return await syncModels({ config, store })
  } finally {
    await store.close()
  }
}

type Interceptor = ReturnType<typeof makeGrpcRetryInterceptor>

/** Gives each call with its retries a deadline. */
const withDeadline: Interceptor = (options, nextCall) =>
  nextCall({ ...options, deadline: options.deadline ?? Date.now() + temporalMs }) as ReturnType<Interceptor>

/** Runs `work` with a Temporal client and closes it. */
export async function withTemporal<T>(
  config: Config,
  work: (client: Client, connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await Connection.connect({
    ...connectionOf(config.temporal),
    connectTimeout: temporalMs,
    interceptors: [withDeadline, makeGrpcRetryInterceptor(defaultGrpcRetryOptions())],
  })
  try {
    return await work(new Client({ connection, namespace: config.temporal.namespace }), connection)
  } finally {
    await connection.close()
  }
}
