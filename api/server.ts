/**
 * The process `api`: one replica. It answers from its own disk at once, follows Postgres when that is there, and ends cleanly
 * when it is told to, so that a restart of one replica costs no caller an answer.
 */
import { randomBytes } from 'node:crypto'
import type { RequestListener, Server } from 'node:http'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { pino, type Logger } from 'pino'
import { isError, type DomainError } from '../domain/errors.ts'
import { redacted } from '../domain/redact.ts'
import { openArtifacts } from '../store/artifacts.ts'
import { headFiles, keepHeads, openHeads } from '../store/audit/signed-heads.ts'
import { ensureAdminKey } from '../store/access/api-keys.ts'
import { openStore, type Store } from '../store/postgres.ts'
import { expectRoomFor, nameOfProcess, poolSizes } from '../store/database/connection-budget.ts'
import { openSigner } from '../store/signing/signing-key.ts'
import { readConfig, type Config } from '../temporal.config.ts'
import { openAuthentication, predictionsAreOpen } from './auth/authentication.ts'
import { createStartupHealth } from './transport/startup-health.ts'
import { createPredictEndpoint } from './transport/predict-endpoint.ts'
import { issuesOf } from './routes/health.ts'
import { createClock } from './serving/clock.ts'
import { openServing } from './serving/replica-assembly.ts'
import { openFastPath, type FastPath } from './transport/fast-path.ts'
import { joinShared, type SharedListener } from './transport/shared-port.ts'
import { createHttpServer, socketLimits, listenBacklog } from './transport/http-server.ts'
import { stopListening } from './transport/node-internals.ts'
import { createTargetParser } from './transport/prediction-path.ts'
import { createTemporalClient } from './temporal/client.ts'
import { createThrottledLog } from './http/log-throttle.ts'

/** Deadlines of every statement but the log's own: a frozen database must not hold a control route for a second. */
const databaseMs = { connectMs: 500, queryMs: 900 }
/** At the end: how long callers with an open connection may still be told that it closes, and how long all of it may take. */
const farewellMs = 300
const drainMs = 3_000
/** How long after it has got something that may be taken back a replica gets ready for that order. */
const warmMs = 1_000
/** How long a replica that starts may find that there is no room for its connections. */
const refusalMs = 5_000
/** How long each part may take to end: a frozen database says goodbye to nobody. */
const closeMs = 3_500

const log = pino({
  name: 'api',
  base: { pid: process.pid },
  hooks: { streamWrite: redacted },
  // What a driver hangs on its errors besides may be the row that it was about.
  serializers: {
    err(thrown: unknown) {
      if (!(thrown instanceof Error)) return thrown
      const { name, message, stack, code } = thrown as Error & { code?: unknown }
      return { name, message, code, stack }
    },
  },
})

export interface RunningServer {
  url: string
  /** Why it should not run: it found no room for its connections. Nothing when there is, or when Postgres does not answer now. */
  refused: Promise<DomainError | undefined>
  /** Takes no more requests, finishes those under way, hands on what is counted, and ends. */
  stop(reason: string): Promise<void>
}

export async function startServer(config: Config, logger: Logger): Promise<RunningServer> {
  const trouble = createThrottledLog(logger)
  const mark = randomBytes(6).toString('hex')
  const id = `api-${mark}`
  const store = openStore(config.databaseUrl, {
    ...databaseMs,
    max: poolSizes.api,
    name: nameOfProcess('api', mark),
    onError: (error) => trouble('a connection to Postgres broke', error),
  })
  const refused = findRefusal(store)
  const { maxConnections } = socketLimits
  const server = createHttpServer(() => trouble(`more than ${maxConnections} connections are refused`))
  // What is asked before the routes are mounted waits for them.
  const mounted: { handle?: RequestListener; rest?: RequestListener } = {}
  const early: Parameters<RequestListener>[] = []
  server.on('request', (...asked) =>
    mounted.handle === undefined ? early.push(asked) : mounted.handle(...asked),
  )
  const { host, port } = await listen(server, config.api)
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`

  const open = predictionsAreOpen(config.api)
  if (config.api.publicPredictions && !open)
    logger.warn(
      { host: config.api.host },
      'predictions are open without a key on loopback only; keys are asked for',
    )
  const signer = await openSigner(config.signingKey)
  const heads = openHeads(headFiles(config), signer)
  const keeper = keepHeads({ store, heads, onError: trouble })
  const clock = createClock()
  const authentication = await openAuthentication({
    store,
    nowMs: clock.wall,
    cacheFile: join(config.stateDir, 'cache', 'keys.json'),
    publicPredictions: open,
    onError: trouble,
  })
  const temporal = createTemporalClient(config)
  let warming: NodeJS.Timeout | undefined
  // Temporal's client takes a moment to load, which the first rollback of a bad day must not wait for, and fifty megabytes,
  // which a replica does without as long as there is nothing to take back.
  const warmLater = () => void (warming ??= setTimeout(() => void temporal.warm(), warmMs))
  if (config.api.drills) logger.warn('drills are on: versions named in the faults answer wrongly')
  const serving = await openServing({
    store,
    clock,
    artifacts: openArtifacts(config.artifactRoot),
    stateDir: config.stateDir,
    slot: config.api.slot,
    signer,
    replica: { id, host: hostname(), pid: process.pid, url, buildId: config.buildId },
    leaseMs: config.api.replicaLeaseMs,
    drills: config.api.drills,
    durableLog: config.api.predictionLog === 'durable',
    remembered: config.api.predictionCache,
    events: {
      followed: ({ model, epoch, generation, arms, shadow, release, standby }, cause) => {
        logger.info({ model, epoch, generation, release, arms, shadow }, `route ${cause}`)
        if (release !== undefined || standby !== undefined) warmLater()
      },
      refused: (model, problem) => logger.error({ model, ...problem }, 'route refused'),
      forgotten: (why) => logger.warn(why),
      fault: (version, invalidShare) =>
        logger.warn({ version, invalidShare }, 'DRILL: this version now answers wrongly at this share'),
      trouble,
    },
  })
  const refusals = new Map<string, number>()
  const predict = createPredictEndpoint({ authentication, serving, log: logger }, refusals)
  const targetOf = createTargetParser()
  let ending: string | undefined
  const stopping = () => ending
  const health = createStartupHealth({ serving, authentication, stopping })
  const handle: RequestListener = (request, response) => {
    if (ending !== undefined) response.shouldKeepAlive = false
    const target = targetOf(request.method, request.url)
    if (target !== undefined) predict.collect(target, request, response)
    else if (mounted.rest !== undefined) mounted.rest(request, response)
    else if (!health(request, response)) early.push([request, response])
  }
  mounted.handle = handle
  const fastPath = config.api.fastPath
    ? openFastPath(server, {
        targetOf: (path) => targetOf('POST', path),
        answer(target, exchange, body) {
          if (ending !== undefined) exchange.shouldKeepAlive = false
          predict.answer(target, exchange, body)
        },
      })
    : undefined
  for (const asked of early.splice(0)) handle(...asked)
  logger.info({ replica: id, url, buildId: config.buildId }, 'listening')
  // Loaded once predictions are answered: it is most of what there is to load.
  const [{ createApplication }, { startDelivery }] = await Promise.all([
    import('./listener.ts'),
    import('./services/command-delivery.ts'),
  ])
  const { listener } = createApplication({
    store,
    authentication,
    serving,
    temporal,
    heads,
    signer,
    log: logger,
    refusals,
    oidc: config.oidc,
    stopping,
  })
  mounted.rest = listener
  for (const asked of early.splice(0)) handle(...asked)
  const stopDelivery = startDelivery({ store, temporal, log: logger, signer, serving }, trouble)
  const { sharedFd: fd } = config.api
  const isReady = () => issuesOf({ serving, authentication, stopping }).length === 0
  const shared = fd === undefined ? undefined : joinShared(server, { fd, isReady, maxConnections })
  void showFirstKey(store, logger)

  return {
    url,
    refused,
    async stop(reason) {
      if (ending !== undefined) return
      ending = `this replica is ending: ${reason}`
      clearTimeout(warming)
      logger.info({ reason }, 'ending')
      await drain(server, fastPath, shared)
      const parts = [
        keeper.stop,
        authentication.stop,
        serving.stop,
        stopDelivery,
        temporal.close,
        store.close,
      ]
      for (const end of parts) await atMost(closeMs, end())
      logger.info({ reason }, 'ended')
    },
  }
}

function listen(server: Server, api: Config['api']): Promise<{ host: string; port: number }> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: api.host, port: api.port, backlog: listenBacklog }, () => {
      const address = server.address()
      resolve({
        host: api.host,
        port: typeof address === 'object' && address !== null ? address.port : api.port,
      })
    })
  })
}

/**
 * Takes no new connections at once. Those that stand are closed with their next answer: a connection that is closed while it
 * seems idle may be carrying a request already, and its caller would get nothing.
 */
function drain(
  server: Server,
  fastPath: FastPath | undefined,
  shared: SharedListener | undefined,
): Promise<void> {
  return new Promise((resolve) => {
    const quiet = setTimeout(() => {
      fastPath?.closeIdle()
      server.closeIdleConnections()
    }, farewellMs)
    const late = setTimeout(() => {
      fastPath?.closeAll()
      server.closeAllConnections()
    }, drainMs)
    // Those of the shared port are the server's too, but only the port knows when the last of them is closed.
    void Promise.all([stopListening(server), shared?.leave()]).then(() => {
      clearTimeout(quiet)
      clearTimeout(late)
      resolve()
    })
  })
}

async function atMost(ms: number, ending: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([ending, late]).finally(() => clearTimeout(timer))
}

/**
 * Nothing waits for it: a replica starts without a database as well. One that comes later is not asked any more, for by then the
 * replica may be all that answers.
 */
async function findRefusal(store: Store): Promise<DomainError | undefined> {
  const untilMs = performance.now() + refusalMs
  while (performance.now() < untilMs) {
    try {
      await expectRoomFor(store, 'api')
      return undefined
    } catch (error) {
      if (isError(error, 'configuration_invalid')) return error
    }
    await pause(refusalMs / 20)
  }
  return undefined
}

/** For an API that nobody prepared: the one line of this process that is no JSON, because a log keeps what it is given. */
async function showFirstKey(store: Store, logger: Logger): Promise<void> {
  try {
    const key = await ensureAdminKey(store)
    if (key !== undefined) process.stderr.write(`The first admin key, shown this once: ${key}\n`)
  } catch (error) {
    if (!isError(error, 'postgres_unavailable'))
      logger.error({ err: error }, 'no first admin key could be made')
  }
}

async function main(): Promise<void> {
  const config = readConfig()
  log.level = config.logLevel
  const running = await startServer(config, log)
  const end = (reason: string, code = 0) => void running.stop(reason).then(() => process.exit(code))
  void running.refused.then((refusal) => {
    if (refusal === undefined) return
    log.fatal({ code: refusal.code }, refusal.message)
    end('there is no room for its connections', 1)
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => end(signal))
  // A parent that dies without a word closes this channel, when it has opened one.
  process.on('disconnect', () => end('its parent has ended'))
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'unhandled rejection'))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  await main().catch((error: unknown) => {
    log.fatal({ err: error }, (error as Error).message)
    process.exit(1)
  })
