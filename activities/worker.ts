/**
 * Runs a worker process: `worker control` or `worker train`. Waits for Temporal and Postgres at its start. On SIGTERM it finishes short
 * activities and returns the others to the queue. The control worker also ends rows and workflows that have parted.
 */
import { Client } from '@temporalio/client'
import { NativeConnection, Runtime, type Worker } from '@temporalio/worker'
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import pino from 'pino'
import { openSharedArtifacts } from '../store/objects/artifact-copies.ts'
import { migrate } from '../store/database/migrate.ts'
import { watchOutages, type Symptom } from './alerts/delivery/outage-watch.ts'
import {
  keepHeartbeat,
  silentMs,
  temporalAlert,
  type Repeated,
} from '../store/maintenance/worker-heartbeats.ts'
import { isError, reasonOf } from '../domain/errors.ts'
import { redacted } from '../domain/redact.ts'
import { openRowVerifier, rowSigner } from '../store/audit/row-signatures.ts'
import { expectMarker, requireReachable } from '../store/artifact-marker.ts'
import { listKnownPaths } from '../store/registry/artifact-retention.ts'
import { headFiles, keepHeads, openHeads, type HeadKeeper } from '../store/audit/signed-heads.ts'
import { copyLines, logOutput } from '../store/log-output.ts'
import { auditModelChanges } from '../store/registry/models.ts'
import { openStore } from '../store/postgres.ts'
import { expectRoomFor, nameOfProcess, poolSizes } from '../store/database/connection-budget.ts'
import { purposesOf } from '../store/signing/key-files.ts'
import { openSigner } from '../store/signing/signing-key.ts'
import { readConfig, readVersion, type Config } from '../temporal.config.ts'
import type { WorkerTracing } from './tracing/worker-tracing.ts'
import { bundleWorkflows, createControlWorker, createTrainWorker } from './worker/create-worker.ts'
import { claimWhenNone } from './worker/worker-versioning.ts'
import type { Deps, ActivityLog } from './deps.ts'
import { warmUpWorker } from './worker/warm-up.ts'
import { syncIntegrations } from './integrations/sync.ts'
import { watchChampions } from './monitor/champion-watch.ts'
import { createKeeper } from './worker/keep-running.ts'
import { observeLeases } from './worker/observe-leases.ts'
import { compareMs, createBasisWatch } from './worker/lost-basis.ts'
import { createSweep, sweepMs } from './worker/parted-runs.ts'
import { requireReadablePayloads } from '../workflows/client/payload-check.ts'
import { marksOf } from '../workflows/client/payload-keys.ts'
import { dataConverterOf } from '../workflows/client/payload-codec.ts'

const longestPauseMs = 2_000
const temporalAnswersMs = 3_000
/** An activity that did not end in time may hold a connection for as long as its statement runs. */
const closeMs = 2_000
/** How often unused copies of the object store are removed. */
const evictMs = 3_600_000

const [kind = ''] = process.argv.slice(2)
const stopping = new AbortController()
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stopping.abort())

const read = readConfig()
const log = pino(
  { level: read.logLevel, base: { worker: kind }, hooks: { streamWrite: redacted } },
  logOutput,
)
if (kind !== 'control' && kind !== 'train') {
  log.fatal(`unknown worker kind "${kind}": use control or train`)
  process.exit(2)
}
const config = { ...read, signing: { ...read.signing, purposes: purposesOf[kind] } }
Runtime.install({ logger: runtimeLogger(log), shutdownSignals: [] })
const signer = await openSigner(config.signing, 'artifacts').catch(endWith)
const tracing = await telemetryOf(config.telemetry)
const store = openStore(config.databaseUrl, {
  signAudit: rowSigner(signer),
  readerUrl: config.readerUrl,
  metricSources: config.metricSources,
  name: nameOfProcess(kind, randomBytes(6).toString('hex')),
  max: poolSizes[kind],
  onError: (error) => log.warn({ error: error.message }, 'Postgres connection lost'),
  watchStatement: tracing?.watchStatement,
})
const artifacts = openSharedArtifacts(config)
const deps: Deps = { store, artifacts, config, log, tracing }

/** When Temporal has last answered this process. */
let temporalAnsweredMs = performance.now()
const processName = `${hostname()}/${process.pid}`
// Started before the wait for Postgres: a worker that restarts while it is away tells of it too.
const outages = watchOutages({
  store,
  config,
  log,
  // Of the database, the control worker and the replicas tell.
  ...(kind === 'control'
    ? { symptoms: temporalSymptoms }
    : { isReportedByOther: () => Promise.resolve(true) }),
})
let keeper: HeadKeeper | undefined
let heartbeat: Repeated | undefined
let temporal: NativeConnection | undefined
try {
  await untilDone('Postgres', () => migrate(config.databaseUrl))
  await untilDone('Postgres', () => expectRoomFor(store, kind))
  await expectArtifacts()
  if (kind === 'control') keeper = await keepAuditHeads()
  heartbeat = keepHeartbeat(
    store,
    {
      kind,
      process: processName,
      queue: config.taskQueues[kind],
      payloadKeys: marksOf(config.temporal.payloadKeys),
    },
    (error) => log.warn({ error: reasonOf(error) }, 'the heartbeat was not stored'),
    hasTemporal,
  )
  const connection = (temporal = await untilDone('Temporal', () => connect(config)))
  await untilDone('Temporal', () => requireReadable(connection))
  const worker =
    kind === 'control'
      ? await createControlWorker(
          deps,
          connection,
          await bundleWorkflows(runtimeLogger(log), tracing?.listeners !== undefined),
        )
      : await createTrainWorker(deps, connection)
  log.info({ queue: worker.options.taskQueue, build: config.buildId }, 'the worker takes tasks')
  const loops = Promise.allSettled([
    ...(kind === 'control'
      ? [
          sweepAgain(connection),
          watchBases(connection),
          syncIntegrations(deps, stopping.signal),
          observeLeases(deps, stopping.signal),
          watchChampions(deps, stopping.signal),
          warmUp(connection),
        ]
      : []),
    ...(config.worker.versioning ? [claim(connection)] : []),
    keepCopies(),
  ])
  await run(worker)
  stopping.abort()
  await loops
  await connection.close()
  await endAll()
  log.info('the worker has ended')
} catch (error) {
  if (!stopping.signal.aborted) {
    log.fatal({ error: error instanceof Error ? error.stack : String(error) }, 'worker failed')
    process.exitCode = 1
  }
  stopping.abort()
  await Promise.race([endAll(), pause(closeMs)])
  // Pending retries, listeners and an activity that did not end in time would keep the process alive.
  process.exit()
}

function endWith(error: unknown): never {
  log.fatal({ error: reasonOf(error) }, 'worker failed')
  process.exit(1)
}

async function endAll(): Promise<void> {
  await outages.stop()
  await heartbeat?.stop()
  await keeper?.stop()
  await store.close()
  await tracing?.stop()
}

/** Loaded only when it is configured. */
async function telemetryOf(settings: Config['telemetry']): Promise<WorkerTracing | undefined> {
  if (settings === undefined) return undefined
  const { openWorkerTracing } = await import('./tracing/worker-tracing.ts')
  const onError = (error: unknown) => log.warn({ error: reasonOf(error) }, 'OpenTelemetry reports a problem')
  const opened = await openWorkerTracing(settings, { kind, version: readVersion(), onError })
  copyLines(opened.log)
  return opened
}

/** Beside an object store, the folder holds copies, which may be missing. */
async function expectArtifacts(): Promise<void> {
  if (config.objectStore !== undefined) return
  expectMarker(config.artifactRoot, () => listKnownPaths(store))
  await requireReachable(config.artifactRoot).catch((error: unknown) =>
    log.error({ error: reasonOf(error) }, 'work that needs the artifacts waits'),
  )
}

async function keepAuditHeads(): Promise<HeadKeeper> {
  const heads = openHeads(headFiles(config), await openSigner(config.signing, 'heads'))
  const onError = (what: string, error?: unknown) => log.error({ error: String(error ?? '') }, what)
  return keepHeads({ store, heads, isSigned: openRowVerifier(config.signing), onError })
}

async function run(worker: Worker): Promise<void> {
  const stop = () => {
    if (worker.getState() === 'RUNNING') worker.shutdown()
  }
  stopping.signal.addEventListener('abort', stop)
  const ended = worker.run()
  if (stopping.signal.aborted) stop()
  await ended
}

/** Ends rows and workflows that have parted and restarts what must run, until the process stops. */
async function sweepAgain(connection: NativeConnection): Promise<void> {
  const { namespace } = config.temporal
  const client = new Client({ connection, namespace, dataConverter: dataConverterOf(config.temporal) })
  const sweep = createSweep(deps, client)
  const keep = createKeeper(deps, client)
  const failed = (what: string) => (error: unknown) => log.warn({ error: reasonOf(error) }, `${what} failed`)
  for (;;) {
    await pause(sweepMs, undefined, { signal: stopping.signal })
    await sweep().catch(failed('check for rows and workflows that have parted'))
    await keep().catch(failed('check of what must run'))
    await auditModelChanges(store).catch(failed('audit of changed models'))
  }
}

/** Ends waiting releases whose champion has changed, until the process stops. */
async function watchBases(connection: NativeConnection): Promise<void> {
  const { namespace } = config.temporal
  const look = createBasisWatch(
    deps,
    new Client({ connection, namespace, dataConverter: dataConverterOf(config.temporal) }),
  )
  for (;;) {
    await pause(compareMs, undefined, { signal: stopping.signal })
    await look().catch((error: unknown) =>
      log.warn({ error: reasonOf(error) }, 'check for changed champions failed'),
    )
  }
}

/**
 * Uploads artifacts that this machine had before the object store was configured, then removes unused copies, until the process stops.
 */
async function keepCopies(): Promise<void> {
  if (artifacts.copies === undefined) return
  for (;;) {
    let pauseMs = evictMs
    try {
      const { stored, damaged } = await artifacts.copies.adopt()
      const objectStore = artifacts.objects?.address
      if (stored > 0) log.info({ stored, objectStore }, 'artifacts of this machine are stored')
      if (damaged.length > 0)
        log.warn(
          { damaged, objectStore },
          'damaged files are not stored: train or register their versions again',
        )
      const evicted = await artifacts.copies.evict()
      if (evicted > 0) log.info({ evicted }, 'copies of artifacts removed')
    } catch (error) {
      log.warn({ error: reasonOf(error) }, 'copies of artifacts wait for the object store')
      pauseMs = sweepMs
    }
    await pause(pauseMs, undefined, { signal: stopping.signal })
  }
}

/** Warms the worker up before its first task. */
async function warmUp({ workflowService }: NativeConnection): Promise<void> {
  await warmUpWorker(workflowService, config).catch((error: Error) =>
    log.debug({ error: error.message }, 'worker warm-up failed'),
  )
}

/** Makes this build current when no build is. */
async function claim({ workflowService }: NativeConnection): Promise<void> {
  const claimed = await untilDone('The deployment', () => claimWhenNone(workflowService, config))
  if (claimed) log.info({ build: config.buildId }, 'build made current')
}

/** Retries until success or until the process stops. */
async function untilDone<T>(what: string, attempt: () => Promise<T>): Promise<T> {
  for (let pauseMs = 200; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    stopping.signal.throwIfAborted()
    try {
      return await attempt()
    } catch (error) {
      // A permanent error.
      if (isError(error, 'configuration_invalid')) throw error
      log.warn({ error: reasonOf(error) }, `waiting for ${what}`)
      await pause(pauseMs * (0.5 + Math.random() / 2), undefined, { signal: stopping.signal })
    }
  }
}

/** Whether Temporal responds within the time limit, which requires its database too. */
async function hasTemporal(): Promise<boolean> {
  const { namespace } = config.temporal
  const asked = temporal?.withDeadline(Date.now() + temporalAnswersMs, () =>
    temporal!.workflowService.describeNamespace({ namespace }),
  )
  const hasAnswered = (await asked?.catch(() => undefined)) !== undefined
  if (hasAnswered) temporalAnsweredMs = performance.now()
  return hasAnswered
}

/** Replicas read from the heartbeats that Temporal is silent; without the database, only this process knows it. */
function temporalSymptoms(): Symptom[] {
  const temporalSilentMs = performance.now() - temporalAnsweredMs
  if (temporal === undefined || temporalSilentMs <= silentMs) return []
  return [{ ...temporalAlert({ process: processName, temporalSilentMs }), isRaisedElsewhere: true }]
}

/** Throws when the payload keys cannot decrypt the open workflows. */
function requireReadable(connection: NativeConnection): Promise<number> {
  const { namespace, payloadKeys: keys } = config.temporal
  const taskQueues = Object.values(config.taskQueues)
  const { workflowService: service } = connection
  return connection.withDeadline(Date.now() + temporalAnswersMs, () =>
    requireReadablePayloads({ service, namespace, taskQueues, keys }),
  )
}

function connect({ temporal }: Config): Promise<NativeConnection> {
  const { address, apiKey, tls } = temporal
  return NativeConnection.connect({ address, apiKey, tls: tls as true | undefined })
}

/** Forwards Temporal's own log lines as details of our log. */
function runtimeLogger(to: ActivityLog & { trace: ActivityLog['debug'] }) {
  const say = (level: keyof typeof to) => (message: string, fields?: Record<string, unknown>) =>
    to[level](plain(fields), message)
  const levels = {
    trace: say('trace'),
    debug: say('debug'),
    info: say('debug'),
    // The train worker runs activities alone.
    warn: (message: string, fields?: Record<string, unknown>) =>
      say(message.startsWith('No workflows registered') ? 'debug' : 'warn')(message, fields),
    error: say('error'),
  }
  return {
    ...levels,
    log: (level: string, message: string, fields?: Record<string, unknown>) =>
      levels[level.toLowerCase() as keyof typeof levels](message, fields),
  }
}

/** Removes bigints, which JSON cannot encode, and tokens; errors become text. */
function plain(fields: Record<string, unknown> = {}): Record<string, unknown> {
  const { taskToken: _taskToken, ...rest } = fields
  const shown = (value: unknown) =>
    typeof value === 'bigint' || value instanceof Error ? String(value) : value
  return Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, shown(value)]))
}
