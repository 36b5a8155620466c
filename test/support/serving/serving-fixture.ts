/** Provides registered versions, routes, and a replica with its application. */
import type { BatcherOptions } from '@tenure/predictors'
import { createBodyBudget } from '../../../api/http/body-budget.ts'
import { EventEmitter } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import { onTestFinished } from 'vitest'
import { createApp } from '../../../api/app.ts'
import { openAuthentication } from '../../../api/auth/authentication.ts'
import type { ApiDeps } from '../../../api/deps.ts'
import type { RouteDefinition } from '../../../api/http/route.ts'
import { createMetrics } from '../../../api/metrics/registry.ts'
import type { ByteWriter } from '../../../api/serving/codec/byte-writer.ts'
import type { Request } from '../../../api/serving/request/protocol.ts'
import { openServing, type Serving } from '../../../api/serving/replica-assembly.ts'
import type { SharedExchange } from '../../../api/transport/exchange.ts'
import { createPredictEndpoint } from '../../../api/transport/predict-endpoint.ts'
import { createTargetParser } from '../../../api/transport/prediction-path.ts'
import { requestIdHeader } from '../../../domain/request-headers.ts'
import { createTemporalClient } from '../../../api/temporal/client.ts'
import type { Route } from '../../../domain/serving/route.ts'
import { openArtifacts, type Artifacts } from '../../../store/artifacts.ts'
import { signersFolder } from '../../../store/bundles/trusted-signers.ts'
import { headFiles, readHeads } from '../../../store/audit/signed-heads.ts'
import { insertKey, type NewKey } from '../../../store/access/api-keys.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { openSigner, openPublicKeys } from '../../../store/signing/signing-key.ts'
import { openRowVerifier } from '../../../store/audit/row-signatures.ts'
import { openSubjectKey } from '../../../store/signing/subject-hash.ts'
import { waitUntil } from './api-process.ts'
import { checkAnswersOf } from './declared-answers.ts'
import { irisRow, irisSpec, type ArtifactSpec } from './artifact.ts'
import { nextRoute, registerFixtureVersion } from './registration.ts'
import { migratedDatabase, openPatientStore, patient, uniqueName } from '../servers/servers.ts'
import { keyPlacesOf } from './sign-versions.ts'

export interface ServingFixture {
  store: Store
  databaseUrl: string
  artifactRoot: string
  /** Makes a private directory for a replica. */
  directory(): string
  /** Returns the variables of an API process on this database, with a free port and a private directory. */
  environment(): Record<string, string>
  /** Registers a model with a first version of this artifact and returns the version's name. */
  register(spec: ArtifactSpec, minor?: number): Promise<string>
  /** Writes the next route of a model. */
  route(model: string, change: Partial<Route>, exposureMs?: number): Promise<Route>
  key(options?: Partial<NewKey>): Promise<string>
  close(): Promise<void>
}

export async function openServingFixture(): Promise<ServingFixture> {
  return servingFixtureOn({ databaseUrl: await migratedDatabase() })
}

/** Opens a system on an existing database, optionally with existing artifacts. */
export function servingFixtureOn(options: { databaseUrl: string; artifactRoot?: string }): ServingFixture {
  const { databaseUrl } = options
  const store = openPatientStore(databaseUrl, { name: 'test' })
  const root = mkdtempSync(join(tmpdir(), 'tenure-serving-'))
  const artifactRoot = options.artifactRoot ?? join(root, 'artifacts')
  const directory = () => mkdtempSync(join(root, 'replica-'))
  return {
    store,
    databaseUrl,
    artifactRoot,
    directory,
    environment: () => ({
      DATABASE_URL: databaseUrl,
      TENURE_STATE: directory(),
      TENURE_ARTIFACTS: artifactRoot,
      TENURE_KEYS: keyPlacesOf(artifactRoot).keys,
      TENURE_PORT: '0',
      TENURE_BUILD_ID: 'test',
    }),
    register: (spec, minor = 0) => registerFixtureVersion(store, artifactRoot, spec, minor),
    route: (model, change, exposureMs) => nextRoute(store, model, change, exposureMs),
    async key(options = {}) {
      const made = await insertKey(store, { name: uniqueName('key'), role: 'admin', ...options })
      return made.key
    },
    async close() {
      await store.close()
      rmSync(root, { recursive: true, force: true })
    },
  }
}

/** Registers a model with three versions that predict differently. */
export async function threeVersions(fixture: ServingFixture) {
  const model = uniqueName('model')
  const versions = []
  for (const minor of [0, 1, 2]) versions.push(await fixture.register(irisSpec(model, minor + 1), minor))
  const [old, champion, candidate] = versions as [string, string, string]
  const canary = (shareBp: number): Partial<Route> => ({
    release: `rel_${model}`,
    tickMs: 50,
    proven: champion,
    arms: [
      { arm: 'canary', version: candidate, shareBp },
      { arm: 'champion', version: champion, shareBp: 10_000 - shareBp },
    ],
  })
  return { model, old, champion, candidate, canary }
}

/** Builds a prediction request with a routing key. */
export const request = (routing_key?: string) => ({
  instances: [irisRow],
  ...(routing_key === undefined ? {} : { routing_key }),
})

export interface ReplicaOptions {
  stateDir?: string
  databaseUrl?: string
  leaseMs?: number
  /** Limit of a statement. Default: none; `as served` uses the limit of the API process. */
  deadlines?: 'as served'
  drills?: boolean
  maxSpoolBytes?: number
  durableLog?: boolean
  /** Maximum number of cached predictions of models that are not compiled. */
  remembered?: number
  batches?: BatcherOptions
  keys?: ReturnType<typeof keyPlacesOf>
  slot?: string
  /** Default: the fixture's own. */
  artifacts?: Artifacts
  /** Replaces the store of the replica. */
  around?: (store: Store) => Store
  /** Used with `around`. Default: no limit. */
  startMs?: number
}

export interface TestReplica {
  id: string
  store: Store
  serving: Serving
  stateDir: string
  troubles: string[]
  /** Log messages about injected faults. */
  faults: string[]
  /** Sends a prediction as the router does and returns the parsed body. */
  ask(model: string, body: unknown): PredictAnswer
  /** Resolves when the replica follows this generation. */
  follows(route: Pick<Route, 'model' | 'generation'>): Promise<void>
  stop(): Promise<void>
  /** Closes the database connections of the replica permanently. */
  cut(): Promise<void>
}

export interface PredictAnswer {
  model: string
  version: string
  arm: string
  generation: number
  stale?: boolean
  predictions: {
    id: string
    label?: unknown
    probability?: number
    probabilities?: Record<string, number>
    value?: number
  }[]
}

/** The limits of the API process. */
const served = { connect: 500, query: 900 }

export async function startReplica(
  fixture: ServingFixture,
  options: ReplicaOptions = {},
): Promise<TestReplica> {
  const id = uniqueName('replica')
  const stateDir = options.stateDir ?? fixture.directory()
  const own = openStore(options.databaseUrl ?? fixture.databaseUrl, {
    name: id,
    ...(options.deadlines === 'as served' ? { connectMs: served.connect, queryMs: served.query } : patient),
  })
  const store = options.around?.(own) ?? own
  const troubles: string[] = []
  const faults: string[] = []
  const keys = options.keys ?? keyPlacesOf(fixture.artifactRoot)
  const serving = await openServing({
    store,
    stateDir,
    artifacts: options.artifacts ?? openArtifacts(fixture.artifactRoot),
    signer: await openSigner(keys, 'replicas'),
    artifactKeys: openPublicKeys(keys, 'artifacts'),
    subjects: await openSubjectKey(keys.subjectKey),
    ...(options.slot === undefined ? {} : { slot: options.slot }),
    replica: { id, host: 'test', pid: process.pid, url: 'http://127.0.0.1:0', buildId: 'test' },
    leaseMs: options.leaseMs ?? 30_000,
    gateways: { privateHosts: ['127.0.0.1'], secrets: '/nowhere', metricSources: '/nowhere' },
    startMs: options.startMs ?? (options.around && 600_000),
    drills: options.drills ?? false,
    durableLog: options.durableLog ?? false,
    remembered: options.remembered ?? 0,
    batches: options.batches,
    ...(options.maxSpoolBytes === undefined ? {} : { maxSpoolBytes: options.maxSpoolBytes }),
    events: {
      followed: () => {},
      refused: (model, { text }) => troubles.push(`${model}: ${text}`),
      forgotten: (why) => troubles.push(why),
      fault: (version, share) => faults.push(`${version} ${share}`),
      trouble: (what, error) => troubles.push(`${what}: ${String(error)}`),
    },
  })
  let [closed, stopped]: (Promise<void> | undefined)[] = []
  const cut = (): Promise<void> => (closed ??= store.close())
  return {
    id,
    store,
    serving,
    stateDir,
    troubles,
    faults,
    ask: (model, body) =>
      parsedResponse(serving.predict(serving.native, { model, body: Buffer.from(JSON.stringify(body)) })),
    follows: ({ model, generation }) =>
      until(
        () =>
          serving.routing.find(model)?.route.generation === generation && serving.now() < serving.lease.until,
        `${model} at generation ${generation}`,
      ),
    stop: () => (stopped ??= serving.stop().then(cut)),
    cut,
  }
}

/** Starts a replica that stops when the test ends. */
export async function replicaOfTest(fixture: ServingFixture, options?: ReplicaOptions): Promise<TestReplica> {
  const replica = await startReplica(fixture, options)
  onTestFinished(() => replica.stop())
  return replica
}

/** Sends a prediction that may be queued. */
export async function askLater(
  { serving }: TestReplica,
  model: string,
  body: unknown,
  more: Partial<Request> = {},
): Promise<PredictAnswer> {
  const asked = { model, body: Buffer.from(JSON.stringify(body)), ...more }
  const given = serving.predict(serving.native, asked)
  return given instanceof Promise ? parsedResponse(await given) : parsedResponse(given)
}

/** Parses a response that is available synchronously. */
function parsedResponse(writer: ByteWriter | Promise<ByteWriter>): PredictAnswer {
  if (writer instanceof Promise) throw new Error('the model does not answer in one turn')
  return JSON.parse(writer.bytes.toString('utf8', 0, writer.at)) as PredictAnswer
}

/** Waits for a condition, polled every few milliseconds. */
export const until = waitUntil

/** The method by which a route is asked for its status: HEAD for a stream, whose body has no end. */
export const methodOf = ({ method, answerMedia }: Pick<RouteDefinition, 'method' | 'answerMedia'>): string =>
  answerMedia === 'text/event-stream' ? 'HEAD' : method.toUpperCase()

export interface TestApi extends TestReplica {
  deps: ApiDeps
  /** Sends a request to the application; a body that is not a string is sent as JSON. */
  request(
    method: string,
    path: string,
    options?: { key?: string; body?: unknown; headers?: Record<string, string> },
  ): Promise<TestResponse>
  routes: ReturnType<typeof createApp>['routes']
  mounted: { method: string; path: string }[]
}

export interface TestResponse {
  status: number
  headers: Headers
  text: string
  /** The parsed body; undefined when it is not JSON. */
  json: Record<string, unknown>
}

export interface ApiOptions extends ReplicaOptions {
  publicPredictions?: boolean
  temporal?: { address: string; namespace: string; controlQueue: string }
  stopping?: () => string | undefined
  invocationsModel?: string
  /** False returns at once, before any key is loaded. */
  awaitKeys?: boolean
  /** Polling interval of keys without a notification. */
  keysEveryMs?: number
}

/** Returns whether a body is sent unchanged. */
const isRaw = (body: unknown): body is FormData | Uint8Array<ArrayBuffer> =>
  body instanceof FormData || body instanceof Uint8Array

export async function startApi(fixture: ServingFixture, options: ApiOptions = {}): Promise<TestApi> {
  const replica = await startReplica(fixture, options)
  const authentication = await openAuthentication({
    store: replica.store,
    nowMs: replica.serving.wall,
    cacheFile: join(replica.stateDir, 'keys.json'),
    publicPredictions: options.publicPredictions ?? false,
    everyMs: options.keysEveryMs,
    onError: (what, error) => replica.troubles.push(`${what}: ${String(error)}`),
  })
  const keys = options.keys ?? keyPlacesOf(fixture.artifactRoot)
  const signer = await openSigner(keys, 'replicas')
  const heads = readHeads(
    headFiles({ stateDir: replica.stateDir, artifactRoot: fixture.artifactRoot }),
    openPublicKeys(keys, 'heads'),
  )
  const temporal = createTemporalClient({
    temporal: options.temporal ?? { address: '127.0.0.1:1', namespace: 'default' },
    taskQueues: { control: options.temporal?.controlQueue ?? 'test-control', train: 'test-train' },
  })
  const log = {
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: (fields: object) =>
      void replica.troubles.push(
        JSON.stringify(fields, (_, each: unknown) => (each instanceof Error ? String(each.stack) : each)),
      ),
  }
  const { serving, store } = replica
  const deps: ApiDeps = {
    store,
    artifacts: openArtifacts(fixture.artifactRoot),
    artifactRoot: fixture.artifactRoot,
    alertChannels: join(replica.stateDir, 'alert-channels.json'),
    signersFolder: signersFolder(keys),
    authentication,
    bodies: createBodyBudget(),
    serving,
    temporal,
    heads,
    signer,
    certificateSigner: await openSigner(keys, 'certificates'),
    subjects: await openSubjectKey(keys.subjectKey),
    isSigned: openRowVerifier(keys),
    log,
    metrics: new Registry(),
    stopping: options.stopping ?? (() => undefined),
    invocationsModel: options.invocationsModel,
  }
  deps.metrics = createMetrics(serving, new Map())
  const { app, routes } = createApp(deps)
  const predict = openPredictions(deps)
  const checkAnswer = checkAnswersOf(routes)
  if (options.awaitKeys !== false) await until(() => authentication.isReady(), 'the keys')
  return {
    ...replica,
    deps,
    routes,
    mounted: app.routes,
    async request(method, path, { key, body, headers = {} } = {}) {
      const init = {
        method,
        headers: {
          ...(body === undefined || isRaw(body) ? {} : { 'content-type': 'application/json' }),
          ...headers,
          ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        },
        ...(body === undefined
          ? {}
          : { body: typeof body === 'string' || isRaw(body) ? body : JSON.stringify(body) }),
      }
      const answer = (await predict(path, init)) ?? (await app.request(path, init))
      const text = await answer.text()
      checkAnswer(method, path, answer, text)
      if (answer.status === 500) process.stderr.write(`${method} ${path}: ${replica.troubles.at(-1)}\n`)
      return { status: answer.status, headers: answer.headers, text, json: parsed(text) }
    },
    async stop() {
      await authentication.stop()
      await temporal.close()
      await replica.stop()
    },
  }
}

/** Returns a function that serves a prediction by the endpoint, as the transport does; undefined for another path. */
function openPredictions(deps: ApiDeps) {
  const targetOf = createTargetParser()
  const endpoint = createPredictEndpoint(deps, new Map())
  return async (path: string, init: RequestInit): Promise<Response | undefined> => {
    const target = targetOf(init.method, path)
    if (target === undefined) return undefined
    const headers = Object.fromEntries(new Headers(init.headers))
    const body = Buffer.from(await new Response(init.body ?? null).arrayBuffer())
    return new Promise((resolve) => {
      const exchange: SharedExchange = {
        path,
        headers,
        caller: new EventEmitter(),
        headerOf: (name) => headers[name],
        closed: false,
        shouldKeepAlive: true,
        send(status, sent, text, requestId) {
          const answer = new Headers(requestId === undefined ? {} : { [requestIdHeader]: requestId })
          for (let at = 0; at < sent.length; at += 2) answer.append(sent[at]!, sent[at + 1]!)
          resolve(new Response(Buffer.from(text, 'latin1'), { status, headers: answer }))
        },
        onSent: () => {},
      }
      endpoint.accept(target, exchange, body)
    })
  }
}

function parsed(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return {}
  }
}
