/**
 * The entry of a worker process: `worker control` or `worker train`. It waits for Temporal and Postgres instead of
 * dying without them, and on SIGTERM it finishes what is short and hands the rest back. The control worker also looks
 * after releases that no workflow carries any more.
 */
import { NativeConnection, Runtime, type Worker } from '@temporalio/worker'
import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import pino from 'pino'
import { openArtifacts } from '../store/artifacts.ts'
import { migrate } from '../store/database/migrate.ts'
import { isError } from '../domain/errors.ts'
import { redacted } from '../domain/redact.ts'
import { headFiles, keepHeads, openHeads, type HeadKeeper } from '../store/audit/signed-heads.ts'
import { openStore } from '../store/postgres.ts'
import { expectRoomFor, nameOfProcess, poolSizes } from '../store/database/connection-budget.ts'
import { openSigner } from '../store/signing/signing-key.ts'
import { readConfig, type Config } from '../temporal.config.ts'
import { bundleWorkflows, createControlWorker, createTrainWorker } from './worker/create-worker.ts'
import { claimWhenNone } from './worker/worker-versioning.ts'
import type { Deps, ActivityLog } from './deps.ts'
import { warmUpWorker } from './worker/warm-up.ts'
import { syncIntegrations } from './integrations/sync.ts'
import { createSweep, findRunIn, sweepMs } from './worker/orphaned-releases.ts'

const longestPauseMs = 2_000

const [kind = ''] = process.argv.slice(2)
const stopping = new AbortController()
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stopping.abort())

const config = readConfig()
const log = pino({
  level: config.logLevel,
  base: { worker: kind },
  hooks: { streamWrite: redacted },
})
if (kind !== 'control' && kind !== 'train') {
  log.fatal(`the kind of a worker is control or train, not "${kind}"`)
  process.exit(2)
}
Runtime.install({ logger: runtimeLogger(log), shutdownSignals: [] })
const store = openStore(config.databaseUrl, {
  name: nameOfProcess(kind, randomBytes(6).toString('hex')),
  max: poolSizes[kind],
  onError: (error) => log.warn({ error: error.message }, 'a connection to Postgres broke'),
})
const deps: Deps = { store, artifacts: openArtifacts(config.artifactRoot), config, log }

let keeper: HeadKeeper | undefined
try {
  await untilDone('Postgres', () => migrate(config.databaseUrl))
  await untilDone('Postgres', () => expectRoomFor(store, kind))
  if (kind === 'control') keeper = await keepAuditHeads()
  const connection = await untilDone('Temporal', () => connect(config))
  const worker =
    kind === 'control'
      ? await createControlWorker(deps, connection, await bundleWorkflows(runtimeLogger(log)))
      : await createTrainWorker(deps, connection)
  log.info({ queue: worker.options.taskQueue, build: config.buildId }, 'the worker takes tasks')
  const duties = Promise.allSettled([
    ...(kind === 'control'
      ? [sweepAgain(connection), syncIntegrations(deps, stopping.signal), doSomethingOnce(connection)]
      : []),
    ...(config.worker.versioning ? [claim(connection)] : []),
  ])
  await run(worker)
  stopping.abort()
  await duties
  await connection.close()
  await endAll()
  log.info('the worker has ended')
} catch (error) {
  if (!stopping.signal.aborted) {
    log.fatal({ error: error instanceof Error ? error.stack : String(error) }, 'the worker cannot run')
    process.exitCode = 1
  }
  // What is still tried in vain, or still listens, would keep the process from ending.
  stopping.abort()
  await endAll()
}

async function endAll(): Promise<void> {
  await keeper?.stop()
  await store.close()
}

async function keepAuditHeads(): Promise<HeadKeeper> {
  const heads = openHeads(headFiles(config), await openSigner(config.signingKey))
  const onError = (what: string, error?: unknown) => log.error({ error: String(error ?? '') }, what)
  return keepHeads({ store, heads, onError })
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

/** Looks after interrupted releases until the process is told to end. */
async function sweepAgain({ workflowService }: NativeConnection): Promise<void> {
  const sweep = createSweep(deps, findRunIn(workflowService, config.temporal.namespace))
  for (;;) {
    await pause(sweepMs, undefined, { signal: stopping.signal })
    await sweep().catch((error: Error) =>
      log.warn({ error: error.message }, 'interrupted releases were not looked for'),
    )
  }
}

/** What is not ready then is when its first task comes. */
async function doSomethingOnce({ workflowService }: NativeConnection): Promise<void> {
  await warmUpWorker(workflowService, config).catch((error: Error) =>
    log.debug({ error: error.message }, 'the worker was given nothing to do yet'),
  )
}

/** Makes this build the current one when there is none. */
async function claim({ workflowService }: NativeConnection): Promise<void> {
  const claimed = await untilDone('The deployment', () => claimWhenNone(workflowService, config))
  if (claimed) log.info({ build: config.buildId }, 'the first build takes new work')
}

/** Tries until it works or the process is told to end. */
async function untilDone<T>(what: string, attempt: () => Promise<T>): Promise<T> {
  for (let pauseMs = 200; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    stopping.signal.throwIfAborted()
    try {
      return await attempt()
    } catch (error) {
      // No time heals it.
      if (isError(error, 'configuration_invalid')) throw error
      log.warn(
        { error: error instanceof Error ? error.message : String(error) },
        `${what} does not answer yet`,
      )
      await pause(pauseMs * (0.5 + Math.random() / 2), undefined, { signal: stopping.signal })
    }
  }
}

function connect({ temporal }: Config): Promise<NativeConnection> {
  const { address, apiKey, tls } = temporal
  return NativeConnection.connect({
    address,
    apiKey,
    tls: tls === undefined ? undefined : (tls as true),
  })
}

/** Temporal's own lines, among ours: what it finds worth telling is a detail to those who read about models. */
function runtimeLogger(to: ActivityLog & { trace: ActivityLog['debug'] }) {
  const say = (level: keyof typeof to) => (message: string, fields?: Record<string, unknown>) =>
    to[level](plain(fields), message)
  const levels = {
    trace: say('trace'),
    debug: say('debug'),
    info: say('debug'),
    warn: say('warn'),
    error: say('error'),
  }
  return {
    ...levels,
    log: (level: string, message: string, fields?: Record<string, unknown>) =>
      levels[level.toLowerCase() as keyof typeof levels](message, fields),
  }
}

/** Without bigints, which JSON does not know, and tokens, which say nothing to anybody; with errors as text. */
function plain(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields)
      .filter(([name]) => name !== 'taskToken')
      .map(([name, value]) => [
        name,
        typeof value === 'bigint' || value instanceof Error ? String(value) : value,
      ]),
  )
}
