/**
 * Runs one API replica. While Postgres is unavailable, it serves from its own disk; otherwise it follows Postgres. It drains before it
 * stops, so that a rolling restart fails no request.
 */
import { randomBytes } from 'node:crypto'
import type { Server } from 'node:http'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { createHttpServer, listenOn, openFastPath, socketLimits, type FastPath } from '@tenure/http-front'
import { pino, type Logger } from 'pino'
import type { DomainError } from '../domain/errors.ts'
import { redacted } from '../domain/redact.ts'
import { signersFolder } from '../store/bundles/trusted-signers.ts'
import { openSharedArtifacts } from '../store/objects/artifact-copies.ts'
import { rowSigner } from '../store/audit/row-signatures.ts'
import { logOutput } from '../store/log-output.ts'
import { openStore, type Store } from '../store/postgres.ts'
import { createApiFetch } from '../store/tls/api-fetch.ts'
import { nameOfProcess, poolSizes } from '../store/database/connection-budget.ts'
import { checkout, plainTextIssue, readConfig, readVersion, type Config } from '../temporal.config.ts'
import { openAuthentication, predictionsAreOpen, type Authentication } from './auth/authentication.ts'
import { openReplicaKeys, type ReplicaKeys } from './auth/replica-keys.ts'
import { createBodyBudget, type BodyBudget } from './http/body-budget.ts'
import { createRequestGate, refusalOf, type RequestGate } from './http/request-gate.ts'
import { createCrossOrigin } from './auth/cross-origin.ts'
import { createCertificateCheck, type CertificateCheck } from './auth/client-certificate.ts'
import { createHostCheck, type HostCheck } from './auth/sender.ts'
import { createStartupHealth } from './transport/startup-health.ts'
import { startGrpc } from './grpc/start.ts'
import { startStreams } from './streams/start.ts'
import { createPredictEndpoint, type PredictEndpoint } from './transport/predict-endpoint.ts'
import { issuesOf } from './routes/health.ts'
import { createClock } from './serving/clock.ts'
import { openServing, type Serving, type ServingEvents } from './serving/replica-assembly.ts'
import { expectMarker } from '../store/artifact-marker.ts'
import { listKnownPaths } from '../store/registry/artifact-retention.ts'
import { endWhenForgotten, joinShared, listenWhenFree } from './transport/shared-port.ts'
import { readHeaders } from './transport/exchange.ts'
import { createTargetParser } from './transport/prediction-path.ts'
import { drain, drainMs } from './drain.ts'
import { findRefusal, followCertificate, showFirstKey } from './start-checks.ts'
import type { PredictionTracing } from './tracing/prediction-spans.ts'
import { telemetryOf, type ReplicaTelemetry } from './tracing/telemetry-of.ts'
import { readMetrics } from './metrics/open-metrics.ts'
import { createTemporalClient, type TemporalClient } from './temporal/client.ts'
import { createThrottledLog } from './http/log-throttle.ts'
import { startWatches } from './watches.ts'

/**
 * Time limits of statements except those of the prediction log. A frozen database must not block a control route for more than a second.
 */
const databaseMs = { connectMs: 500, queryMs: 900 }
/** The delay before Temporal's client is loaded, after a release has started. */
const warmUpDelayMs = 1_000
/** Time limit for stopping each part, because a frozen database never responds. */
const closeMs = 3_500

const log = pino(
  {
    name: 'api',
    base: { pid: process.pid },
    hooks: { streamWrite: redacted },
    // Other properties of a database error may contain the row.
    serializers: {
      err(thrown: unknown) {
        if (!(thrown instanceof Error)) return thrown
        const { name, message, stack, code } = thrown as Error & { code?: unknown }
        return { name, message, code, stack }
      },
    },
  },
  logOutput,
)

export interface RunningServer {
  url: string
  /** The port of gRPC; undefined when it is not configured. */
  grpcPort: number | undefined
  /** Resolves with the error when the connection budget is exceeded; with undefined when it is not, or when Postgres does not respond. */
  refused: Promise<DomainError | undefined>
  /** Reads the certificate again. */
  reload(): void
  /** Stops accepting requests, finishes the open ones, stores the counters, and stops. */
  stop(reason: string): Promise<void>
}

export async function startServer(
  config: Config,
  logger: Logger,
  bodies: BodyBudget = createBodyBudget(),
): Promise<RunningServer> {
  const onError = createThrottledLog(logger)
  const telemetry = await telemetryOf(config, onError)
  const mark = randomBytes(6).toString('hex')
  const id = `api-${mark}`
  const keys = await openReplicaKeys(config)
  const store = openStore(config.databaseUrl, {
    ...databaseMs,
    signAudit: rowSigner(keys.signer),
    readerUrl: config.readerUrl,
    max: poolSizes.api,
    name: nameOfProcess('api', mark),
    onError: (error) => onError('a connection to Postgres broke', error),
  })
  if (config.objectStore === undefined) expectMarker(config.artifactRoot, () => listKnownPaths(store))
  const refused = findRefusal(store)
  const { maxConnections } = socketLimits
  const isOwnHost = createHostCheck(config.api.allowedHosts)
  const { tls, corsOrigins } = config.api
  const certificate = followCertificate(tls, logger)
  const hasCertificate = createCertificateCheck(tls?.clientCa !== undefined)
  const onFull = () => onError(`more than ${maxConnections} connections are refused`)
  const server = createHttpServer({ certificate, onFull, refusalOf })
  const gate = createRequestGate(server, isOwnHost, createCrossOrigin(corsOrigins), hasCertificate)
  const { host, port } = await listenOn(server, config.api)
  server.on('error', (error) => onError('a connection could not be accepted', error))
  const url = `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`
  let ending: string | undefined
  const stopping = () => ending
  const replica = await openReplica(config, logger, { store, keys, id, url, onError, telemetry })
  const { authentication, serving, temporal, signer, subjects, isSigned } = replica
  const refusals = new Map<string, number>()
  const { invocationsModel } = config.api
  const sockets = { server, gate, refusals, stopping, isOwnHost, hasCertificate }
  const tracing = telemetry?.tracing
  const parts = { ...replica, ...sockets, bodies, tracing, invocationsModel, log: logger }
  const { fastPath, predict } = servePredictions(parts, config.api.fastPath)
  const grpcDeps = { authentication, bodies, serving, stopping, log: logger, certificate }
  const grpc = await startGrpc(config.api, grpcDeps, predict)
  const streams = await startStreams(config, { ...replica, store, log: logger }, onError)
  logger.info({ replica: id, url, buildId: config.buildId }, 'listening')
  // Loaded only when predictions are served, because it is most of the code.
  const [{ createApplication }, { startDelivery }, { standInForDelivery }] = await Promise.all([
    import('./listener.ts'),
    import('./services/command-delivery.ts'),
    import('./services/alerts/stand-in.ts'),
  ])
  const callReplica = createApiFetch(config.trust)
  const deps = {
    store,
    authentication,
    bodies,
    serving,
    temporal,
    signer,
    subjects,
    isSigned,
    callReplica,
    log: logger,
  }
  const { oidc, buildId, artifactRoot, alertChannels } = config
  const build = { version: readVersion(), buildId }
  const artifacts = openSharedArtifacts(config)
  const { heads, certificateSigner } = replica
  const more = {
    heads,
    certificateSigner,
    refusals,
    oidc,
    stopping,
    build,
    artifactRoot,
    artifacts,
    invocationsModel,
  }
  const { stop: stopWatches, ...watched } = startWatches({ ...deps, config }, onError)
  const files = { signersFolder: signersFolder(config.signing), alertChannels }
  const traces = { traced: telemetry?.traced, exemplars: telemetry?.exemplars }
  const { listener, metrics } = createApplication({ ...deps, ...more, ...watched, ...files, ...traces })
  gate.mount(listener)
  telemetry?.follow(() => readMetrics(metrics))
  const stopDelivery = startDelivery(deps, onError)
  const alerts = standInForDelivery({ store, config, log: logger }, onError)
  const { sharedFd: fd, keptPort } = config.api
  const isReady = () => issuesOf({ serving, authentication, stopping }).length === 0
  const options = { ...config.api, isReady, maxConnections }
  const shared = fd === undefined ? undefined : joinShared(server, { ...options, fd })
  const leaveKept =
    keptPort && listenWhenFree(server, { host: config.api.host, port: keptPort, maxConnections })
  void showFirstKey(store, logger, stopping)

  return {
    url,
    grpcPort: grpc?.port,
    refused,
    reload: () => certificate?.reload(),
    async stop(reason) {
      if (ending !== undefined) return
      ending = `this replica is ending: ${reason}`
      replica.cancelWarmUp()
      if (leaveKept) leaveKept()
      certificate?.stop()
      logger.info({ reason }, 'ending')
      await Promise.all([
        drain(server, fastPath, shared),
        grpc?.stop(drainMs),
        atMost(closeMs, streams?.stop()),
      ])
      const loops = [authentication.stop, serving.stop, stopDelivery, stopWatches, alerts.stop]
      for (const end of [...loops, temporal.close, store.close]) await atMost(closeMs, end())
      logger.info({ reason }, 'ended')
      if (telemetry !== undefined) await atMost(closeMs, telemetry.stop())
    },
  }
}

interface Replica extends Omit<ReplicaKeys, 'artifactKeys'> {
  authentication: Authentication
  serving: Serving
  temporal: TemporalClient
  cancelWarmUp(): void
}

interface ReplicaParts {
  store: Store
  keys: ReplicaKeys
  id: string
  url: string
  onError: ServingEvents['trouble']
  telemetry: ReplicaTelemetry | undefined
}

/** Opens the parts that serve predictions, from the disk of this replica while Postgres is unavailable. */
async function openReplica(
  config: Config,
  logger: Logger,
  { store, keys, id, url, onError, telemetry }: ReplicaParts,
): Promise<Replica> {
  const publicPredictions = predictionsAreOpen(config.api)
  if (config.api.publicPredictions && !publicPredictions)
    logger.warn({ host: config.api.host }, 'predictions need a key, because this host is not loopback')
  const plainText = plainTextIssue(config)
  if (plainText !== undefined) logger.warn({ host: config.api.host }, plainText)
  if (config.api.drills) logger.warn('drills are on: versions with injected faults fail on purpose')
  const { signer, artifactKeys, subjects } = keys
  const clock = createClock()
  const authentication = await openAuthentication({
    store,
    nowMs: clock.wall,
    cacheFile: join(config.stateDir, 'cache', 'keys.json'),
    publicPredictions,
    onError,
  })
  const temporal = createTemporalClient({ ...config, interceptor: telemetry?.interceptor })
  let warmUp: NodeJS.Timeout | undefined
  // Loading the SDK takes a moment, which a rollback must not wait for. It also takes 50 MB, which an idle replica saves.
  const warmUpLater = () => void (warmUp ??= setTimeout(() => void temporal.warm(), warmUpDelayMs))
  const serving = await openServing({
    store,
    clock,
    artifacts: openSharedArtifacts(config),
    stateDir: config.stateDir,
    slot: config.api.slot,
    signer,
    artifactKeys,
    subjects,
    replica: { id, host: hostname(), pid: process.pid, url, buildId: config.buildId },
    leaseMs: config.api.replicaLeaseMs,
    gateways: config,
    drills: config.api.drills,
    durableLog: config.api.predictionLog === 'durable',
    remembered: config.api.predictionCache,
    events: loggedEvents(logger, onError, warmUpLater),
  })
  return {
    ...keys,
    authentication,
    serving,
    temporal,
    cancelWarmUp: () => clearTimeout(warmUp),
  }
}

const loggedEvents = (
  logger: Logger,
  onError: ServingEvents['trouble'],
  onRelease: () => void,
): ServingEvents => ({
  followed({ model, epoch, generation, arms, shadow, release, standby }, cause) {
    logger.info({ model, epoch, generation, release, arms, shadow }, `route ${cause}`)
    if (release !== undefined || standby !== undefined) onRelease()
  },
  refused: (model, problem) => logger.error({ model, ...problem }, 'route refused'),
  forgotten: (why) => logger.warn(why),
  fault: (version, invalidShare) =>
    logger.warn({ version, invalidShare }, 'DRILL: this version returns invalid outputs at this share'),
  trouble: onError,
})

type PredictionParts = Pick<Replica, 'authentication' | 'serving'> & {
  server: Server
  gate: RequestGate
  refusals: Map<string, number>
  stopping: () => string | undefined
  isOwnHost: HostCheck
  hasCertificate: CertificateCheck
  invocationsModel: string | undefined
  bodies: BodyBudget
  tracing: PredictionTracing | undefined
  log: Logger
}

/** Serves predictions and health checks until the routes are loaded. */
function servePredictions(
  { server, gate, refusals, stopping, isOwnHost, hasCertificate, ...parts }: PredictionParts,
  isFast: boolean,
): { fastPath: FastPath | undefined; predict: PredictEndpoint } {
  const predict = createPredictEndpoint(parts, refusals)
  const targetOf = createTargetParser()
  const { serving, authentication } = parts
  const health = createStartupHealth({ serving, authentication, stopping })
  const closeWhenStopping = (response: { shouldKeepAlive: boolean }): void =>
    void (response.shouldKeepAlive &&= stopping() === undefined)
  const fastPath = isFast
    ? openFastPath(
        server,
        {
          takes: hasCertificate,
          targetOf: (path, host) => (isOwnHost(host) ? targetOf('POST', path) : undefined),
          admit: predict.admit,
          accept(target, exchange, body, admitted) {
            closeWhenStopping(exchange)
            predict.accept(target, exchange, body, admitted)
          },
        },
        { headers: readHeaders },
      )
    : undefined
  gate.open((request, response) => {
    closeWhenStopping(response)
    const target = targetOf(request.method, request.url)
    if (target !== undefined) predict.acceptFromNode(target, request, response)
    return target !== undefined
  }, health)
  return { fastPath, predict }
}

async function atMost(ms: number, ending: Promise<unknown> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([ending, late]).finally(() => clearTimeout(timer))
}

async function main(): Promise<void> {
  const config = readConfig()
  log.level = config.logLevel
  const starting = startServer(config, log)
  let isStarted = false
  const end = (reason: string, code = 0) =>
    void starting.then((server) => server.stop(reason)).then(() => process.exit(code))
  // Installed before the start completes: process 1 of a container has no default action for a signal and would ignore it.
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      end(signal)
      // A start that still waits for something has received no request that it could fail.
      setTimeout(() => isStarted || process.exit(0), 2_000).unref()
    })
  const running = await starting
  isStarted = true
  void running.refused.then((refusal) => {
    if (refusal === undefined) return
    log.fatal({ code: refusal.code }, refusal.message)
    end('the connection budget is exceeded', 1)
  })
  if (config.api.tls !== undefined) process.on('SIGHUP', running.reload)
  endWhenForgotten(config.api.supervisor, () => end('no supervisor names it'))
  // The channel closes when the parent crashes.
  process.on('disconnect', () => end('its parent has ended'))
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'unhandled rejection'))
}

if (process.argv[1] === join(checkout, 'api/server.ts'))
  await main().catch((error: unknown) => {
    log.fatal({ err: error }, (error as Error).message)
    process.exit(1)
  })
