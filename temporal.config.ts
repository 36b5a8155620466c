/** Reads the environment; no other file does. Reports all missing and invalid variables together: each alone would cost a restart. */
import { bareEnvironment, cacheOf } from '@tenure/embedded/install/machine'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DomainError } from './domain/errors.ts'
import { counted } from './domain/figures.ts'
import { parseOidc } from './domain/access/oidc-config.ts'
import { isPackage, issuesOfServers, project } from './project.mjs'
import { readBackups, readObjectStore } from './store/objects/settings.ts'
import { issuesOfPostgresUrl, readTls, readTrust } from './store/tls/settings.ts'
import { replacedFiles, secretNames } from './store/secret-files.ts'
import { settingsReader, type SettingsReader } from './store/settings-reader.ts'
import { readTemporal } from './workflows/client/settings.ts'
import { readTelemetry } from './activities/telemetry/settings.ts'

export const taskQueues = { control: 'tenure-control', train: 'tenure-train' } as const

/** Search attributes, created in the namespace at start; all have the type Keyword. */
export const searchAttributes = ['Model', 'ReleaseStage', 'CandidateVersion', 'Outcome'] as const

export type Config = ReturnType<typeof readConfig>

export interface Mirror {
  url: string
  token?: string
}

/** The folder of Tenure's code with its migrations, pages and packages. */
export const checkout = dirname(fileURLToPath(import.meta.url))
/** The folder with the settings and the state, to which paths in model files are relative: the project, or else the checkout. */
export const projectFolder = project.folder
/** The command that installs missing parts. */
export const setUpCommand = isPackage ? 'npx tenure setup' : 'npm run setup'
/** Runs a compiled source file of the checkout as a process: `node <launcher> activities/worker.ts control`. */
export const launcher = join(checkout, 'cli', 'launch.mjs')

/** Settings of the `tenure` command. */
export type CommandConfig = ReturnType<typeof readCommandConfig>

type Environment = Record<string, string | undefined>

/** Reads and checks the variables of a system process. Throws `configuration_invalid` with every issue. */
export function readConfig(variables: Environment = process.env) {
  const reader = settingsReader(variables, [...project.issues])
  const { environment, issues, given, text, whole, oneOf } = reader
  const databaseUrl = text('DATABASE_URL')
  const readerUrl = given('TENURE_READER_DATABASE_URL')
  issues.push(...issuesOfPostgresUrl('DATABASE_URL', databaseUrl))
  issues.push(...issuesOfPostgresUrl('TENURE_READER_DATABASE_URL', readerUrl))
  const stateDir = resolve(text('TENURE_STATE', join(projectFolder, '.tenure')))
  const temporal = readTemporal(environment, issues)
  const keys = resolve(text('TENURE_KEYS', join(stateDir, 'keys')))
  const privateHosts = readPrivateHosts(reader)
  const config = {
    databaseUrl,
    /** Connects as the role that runs the queries of batches, sources and outcome tables. Default: `tenure_reader` of DATABASE_URL. */
    readerUrl,
    temporal,
    taskQueues: {
      control: text('TENURE_CONTROL_QUEUE', taskQueues.control),
      train: text('TENURE_TRAIN_QUEUE', taskQueues.train),
    },
    ...readObjectStore(environment, issues),
    /** Artifacts, snapshots and checkpoints: a directory shared by all machines, or this machine's copies of an object store. */
    artifactRoot: resolve(text('TENURE_ARTIFACTS', join(stateDir, 'artifacts'))),
    /** Local state of this machine: data of embedded servers, routing cache, spool. */
    stateDir,
    /** Paths of the signing keys. The process that signs with a key creates it at its first start. */
    signing: {
      keys,
      trust: resolve(text('TENURE_TRUST', join(keys, 'public'))),
      /** The secret that hashes erased subjects, used by workers and replicas. */
      subjectKey: resolve(text('TENURE_SUBJECT_KEY', join(keys, 'subjects.key'))),
    },
    api: readApi(reader),
    retention: readRetention(reader),
    /** Private hosts that addresses from model files, from `tenure apply` and from the answers of servers may reach. */
    privateHosts,
    /** The API server of the cluster of Kubernetes that runs this process, and the folder of its service account; absent outside of one. */
    cluster: readCluster(reader),
    /** The largest file in MiB that a source gets from a web server. */
    sourceFileMb: whole('TENURE_SOURCE_FILE_MB', 512, 1, 10_000_000),
    /** Cache of this machine for downloads and Python environments. */
    cacheDir: cacheDir(environment),
    /** Memory limit of a training process in MiB. Default: unlimited. */
    trainingMemoryMb: whole('TENURE_TRAINING_MEMORY_MB', undefined, 256, 100_000_000),
    worker: {
      maxActivities: whole('TENURE_MAX_ACTIVITIES', 40, 1, 10_000),
      versioning: oneOf('WORKER_VERSIONING', 'off', ['on', 'off']) === 'on',
    },
    /** The directory of batch files. */
    batchDir: resolve(text('TENURE_BATCHES', join(stateDir, 'batches'))),
    /** Base URL of the dashboard, without a trailing slash; absent if unknown. */
    publicUrl: readPublicUrl(reader),
    /** How calls to other replicas, and calls of `tenure up` to its own replicas, verify the API's certificate. */
    trust: readTrust(environment, issues),
    /**
     * Files with the sources of external metrics and with the alert channels, the folder with the secrets of applied channels, and the base
     * address of runbooks.
     */
    metricSources: resolve(text('TENURE_METRIC_SOURCES', join(stateDir, 'metric-sources.json'))),
    alertChannels: resolve(text('TENURE_ALERT_CHANNELS', join(stateDir, 'alert-channels.json'))),
    secrets: resolve(text('TENURE_SECRETS', join(stateDir, 'secrets'))),
    /** How long Postgres is away before a process tells the channels of it. */
    outageAlertMs: whole('TENURE_OUTAGE_ALERT_MS', 30_000, 1_000, 3_600_000),
    runbooks: text('TENURE_RUNBOOKS', join(checkout, 'docs', 'runbooks')),
    /** Systems that receive trainings, versions and releases; absent if not configured. */
    mirrors: {
      mlflow: readMirror(reader, 'TENURE_MLFLOW'),
      openlineage: readMirror(reader, 'TENURE_OPENLINEAGE'),
    },
    /** The single sign-on provider; absent if not configured. */
    oidc: parseOidc(environment, issues, {
      keyDays: whole('TENURE_OIDC_KEY_DAYS', 30, 1, 3_650),
      privateHosts,
    }),
    /** Destinations of traces, metrics and logs; absent if OpenTelemetry is disabled. */
    telemetry: readTelemetry(environment, issues),
    buildId: given('TENURE_BUILD_ID') ?? gitRevision(),
    logLevel: oneOf('LOG_LEVEL', 'info', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  }
  refuse(issues)
  return config
}

/** The settings of the API processes. */
function readApi({ environment, issues, given, text, whole, oneOf, listOf }: SettingsReader) {
  const invocationsModel = given('TENURE_INVOCATIONS_MODEL')
  if (invocationsModel !== undefined && !/^[a-z][\w-]{0,99}$/i.test(invocationsModel))
    issues.push(`TENURE_INVOCATIONS_MODEL is the name of a model, not "${invocationsModel}"`)
  if (!/^[\w-]{1,40}$/.test(given('TENURE_REPLICA') ?? '1'))
    issues.push('TENURE_REPLICA is a short name of letters, digits, - and _')
  return {
    host: text('TENURE_HOST', '127.0.0.1'),
    port: whole('TENURE_PORT', 7400, 0, 65_535),
    /** The certificate of HTTPS and gRPC; absent for plain HTTP. */
    tls: readTls(environment, issues),
    /** Host names of the API, besides addresses and localhost. */
    allowedHosts: [
      ...listOf('TENURE_ALLOWED_HOSTS', /^\.?[\w-]+(\.[\w-]+)*$/, 'names such as tenure.example.com'),
      given('TENURE_HOST') ?? '',
      hostOf(environment['TENURE_OIDC_REDIRECT']),
    ],
    /** Origins whose pages may call the API from a browser. */
    corsOrigins: listOf(
      'TENURE_CORS_ORIGINS',
      /^https?:\/\/[\w.-]+(:\d{1,5})?$/,
      'origins such as https://app.example.com',
    ),
    publicPredictions: oneOf('TENURE_PUBLIC_PREDICTIONS', 'off', ['on', 'off']) === 'on',
    drills: oneOf('TENURE_DRILLS', 'off', ['on', 'off']) === 'on',
    /** Whether a response waits until its prediction is committed. */
    predictionLog: oneOf('TENURE_PREDICTION_LOG', 'best-effort', ['best-effort', 'durable']),
    /** The number of cached predictions for models that are not compiled. */
    predictionCache: whole('TENURE_PREDICTION_CACHE', 0, 0, 1_000_000),
    /** Whether predictions are read directly from their sockets. Otherwise Node's HTTP server parses every request. */
    fastPath: oneOf('TENURE_FAST_PATH', 'on', ['on', 'off']) === 'on',
    /** Port of the Open Inference Protocol over gRPC; absent if disabled. */
    grpcPort: whole('TENURE_GRPC_PORT', undefined, 0, 65_535),
    /** Path of the file that configures streams; absent without streams. */
    streams: given('TENURE_STREAMS'),
    /** The model of `/invocations`. Default: the only served model. */
    invocationsModel,
    replicaLeaseMs: whole('TENURE_REPLICA_LEASE_MS', 5_000, 100, 600_000),
    /** The index of this API process on its machine. */
    slot: text('TENURE_REPLICA', '1'),
    /** The file descriptor of the shared port; absent without one. */
    sharedFd: whole('TENURE_SHARED_FD', undefined, 3, 1_023),
    keptPort: whole('TENURE_KEPT_PORT', undefined, 1, 65_535),
    /** Path of the pid file of the supervisor that started this process. */
    supervisor: given('TENURE_SUPERVISOR'),
  }
}

/**
 * Retention in days of predictions, decisions, snapshots with an erased subject, and scored batch days; the size budget of artifacts and
 * snapshots.
 */
function readRetention({ whole }: SettingsReader) {
  return {
    predictionDays: whole('TENURE_KEEP_PREDICTIONS_DAYS', 90, 1, 36_500),
    judgementDays: whole('TENURE_KEEP_JUDGEMENTS_DAYS', 400, 1, 36_500),
    erasedSnapshotDays: whole('TENURE_KEEP_ERASED_SNAPSHOTS_DAYS', 30, 0, 36_500),
    // Deleting a day of the last 400 would score it again.
    partitionDays: whole('TENURE_KEEP_PARTITIONS_DAYS', 800, 402, 36_500),
    artifactsMb: whole('TENURE_KEEP_ARTIFACTS_MB', 51_200, 1, 1_000_000_000),
  }
}

/** Reads a list of names, where `.internal` stands for all names below it, addresses, and ranges such as 10.0.0.0/8. */
function readPrivateHosts({ issues, listOf }: SettingsReader): string[] {
  const what = 'names, addresses and ranges such as files.internal,.example.internal,10.0.0.0/8'
  const hosts = listOf('TENURE_PRIVATE_HOSTS', /^[\w.:/-]+$/, what)
  for (const host of hosts) {
    const [address = '', bits] = host.split('/')
    const maxBits = isIP(address) === 4 ? 32 : 128
    const isValid =
      isIP(address) === 0
        ? /^\.?[\w-]+(\.[\w-]+)*$/.test(host) && /[a-z]/i.test(host)
        : bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= maxBits)
    if (!isValid) issues.push(`TENURE_PRIVATE_HOSTS is a list of ${what}; "${host}" is none`)
  }
  return hosts
}

function readPublicUrl({ environment, issues, given }: SettingsReader): string | undefined {
  const url = (given('TENURE_PUBLIC_URL') ?? originOf(environment['TENURE_OIDC_REDIRECT']))?.replace(
    /\/+$/,
    '',
  )
  if (url !== undefined && (!/^https?:\/\/./.test(url) || !URL.canParse(url)))
    issues.push(`TENURE_PUBLIC_URL is an http:// or https:// address, not "${url}"`)
  return url
}

/** Reads and checks the variables of the `tenure` command. Throws `configuration_invalid` with every issue. */
export function readCommandConfig(variables: Environment = process.env) {
  const { environment, issues, given, text, whole } = settingsReader(variables, [...project.issues])
  const url = given('TENURE_URL')
  // The servers of another machine are reached through its API.
  if (url === undefined) issues.push(...issuesOfServers(environment))
  if (url !== undefined && !/^https?:\/\/./.test(url))
    issues.push('TENURE_URL is an http:// or https:// address')
  const config = {
    /** The folder with the models, the data and the settings. */
    project: given('TENURE_PROJECT') ?? projectFolder,
    /** Default: chosen by cli/state-dir.ts. */
    stateDir: given('TENURE_STATE') && resolve(given('TENURE_STATE') ?? ''),
    /** Address and key of the API. Default: the values that `tenure up` wrote to the state directory. */
    url,
    key: given('TENURE_KEY'),
    /** How the API's certificate is verified, and the client certificate to present. */
    trust: readTrust(environment, issues),
    ...readBackups(environment, issues),
    /** External servers; `tenure up` starts its own if they are absent. */
    databaseUrl: given('DATABASE_URL'),
    temporalAddress: given('TEMPORAL_ADDRESS'),
    /** The owner of the tables, for migrations. Default: the role of DATABASE_URL. */
    ownerDatabaseUrl: given('TENURE_OWNER_DATABASE_URL'),
    host: text('TENURE_HOST', '127.0.0.1'),
    /** Preferred ports of `tenure up`. A port in use is replaced by a free one. */
    ports: {
      api: whole('TENURE_PORT', 7400, 0, 65_535),
      postgres: whole('TENURE_POSTGRES_PORT', 7432, 0, 65_535),
      temporal: whole('TENURE_TEMPORAL_PORT', 7233, 0, 65_535),
      /** Temporal's own pages, which require no key; absent where they are off. */
      temporalUi: whole('TENURE_TEMPORAL_UI_PORT', undefined, 0, 65_535),
      /** Never replaced, because callers know it. */
      grpc: whole('TENURE_GRPC_PORT', undefined, 0, 65_535),
    },
  }
  refuse(issues)
  return config
}

/** Returns why keys could be read on their way to the API; undefined if they cannot, or if a proxy with TLS is configured. */
export function plainTextIssue({
  api: { host, tls },
  oidc,
}: Pick<Config, 'api' | 'oidc'>): string | undefined {
  if (
    tls !== undefined ||
    /^(127\.|localhost$|::1$)/.test(host) ||
    oidc?.redirect.startsWith('https:') === true
  )
    return undefined
  return `TENURE_HOST is ${host}, and the API speaks plain HTTP: other machines send keys and rows unencrypted unless a proxy with TLS stands before it. Let only that proxy reach the port`
}

/** Returns the version in package.json. */
export const readVersion = (): string =>
  (JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as { version: string }).version

/** Returns the environment of a child process: a given environment with some variables changed. */
export function environmentWith(changes: Environment, environment: Environment = process.env): Environment {
  return { ...environment, ...replacedFiles(changes), ...changes }
}

/** Kubernetes sets both in each container. */
function readCluster({ given }: SettingsReader): { url: string; folder: string } | undefined {
  const host = given('KUBERNETES_SERVICE_HOST')
  const port = given('KUBERNETES_SERVICE_PORT') ?? '443'
  return host === undefined
    ? undefined
    : {
        url: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
        folder: '/var/run/secrets/kubernetes.io/serviceaccount',
      }
}

/** Reads the address in `…_URL` and an optional key in `…_TOKEN`. */
function readMirror({ issues, given }: SettingsReader, name: string): Mirror | undefined {
  const url = given(`${name}_URL`)
  const token = given(`${name}_TOKEN`)
  if (url === undefined) return undefined
  if (!/^https?:\/\/./.test(url) || !URL.canParse(url))
    issues.push(`${name}_URL is an http:// or https:// address`)
  return { url, token }
}

function refuse(issues: string[]): void {
  if (issues.length === 0) return
  const message = `the configuration has ${counted(issues.length, 'issue')}: ${issues.join('; ')}`
  throw new DomainError('configuration_invalid', message, { issues })
}

const originOf = (address = '') => (URL.canParse(address) ? new URL(address).origin : undefined)

const hostOf = (address = ''): string => (URL.canParse(address) ? new URL(address).hostname : '')

/** Returns the environment of a process that needs no setting, without addresses and keys. */
export function systemEnvironment(environment: Environment = process.env): Environment {
  return { ...bareEnvironment(environment), TENURE_PROJECT: environment['TENURE_PROJECT'] }
}

/** What a process needs to ask the endpoints of versions: the private hosts that it may reach, and the folder of secrets. */
export function endpointSettings(environment: Environment = process.env) {
  const reader = settingsReader(environment, [])
  const stateDir = reader.text('TENURE_STATE', join(projectFolder, '.tenure'))
  return {
    privateHosts: readPrivateHosts(reader),
    secrets: resolve(reader.text('TENURE_SECRETS', join(stateDir, 'secrets'))),
  }
}

/** What a command needs to move the weights of a gateway, without the settings of a server. */
export function gatewaySettings(environment: Environment = process.env) {
  const reader = settingsReader(environment, [])
  const stateDir = reader.text('TENURE_STATE', join(projectFolder, '.tenure'))
  return {
    ...endpointSettings(environment),
    metricSources: resolve(reader.text('TENURE_METRIC_SOURCES', join(stateDir, 'metric-sources.json'))),
    cluster: readCluster(reader),
  }
}

/** Passes these settings on to a child process, with the certificate authorities that Node reads at its start. */
export function endpointEnvironment(environment: Environment = process.env): Environment {
  const { privateHosts, secrets } = endpointSettings(environment)
  const authorities = environment['NODE_EXTRA_CA_CERTS']
  return {
    TENURE_PRIVATE_HOSTS: privateHosts.join(),
    TENURE_SECRETS: secrets,
    NODE_EXTRA_CA_CERTS: authorities,
  }
}

/** Secrets that only some processes use. */
const secretsOf = {
  api: ['TENURE_OIDC_CLIENT_SECRET'],
  worker: ['TENURE_MLFLOW_TOKEN', 'TENURE_OPENLINEAGE_TOKEN'],
  command: ['TENURE_OWNER_DATABASE_URL', 'TENURE_KEY'],
} as const

/** Returns the environment of a worker or replica: that of the parent process, without the secrets of other processes. */
export function processEnvironment(
  kind: 'api' | 'worker',
  changes: Environment,
  environment: Environment = process.env,
): Environment {
  const others = Object.entries(secretsOf).flatMap(([owner, names]) => (owner === kind ? [] : [...names]))
  return environmentWith(
    { ...Object.fromEntries(others.map((name) => [name, undefined])), ...changes },
    environment,
  )
}

const secretParts = /PASSWORD|SECRET|TOKEN|CREDENTIAL|HEADERS|_KEYS?(_|$)|_URL$/

/**
 * Moves the variables of an environment that may hold a secret, by their names, to the standard input of the process, from which
 * `cli/build/launch.mjs` takes them.
 */
export function splitSecrets(environment: Environment): { env: Environment; input: string } {
  const isSecret = (name: string): boolean =>
    (secretNames as readonly string[]).includes(name) || secretParts.test(name)
  const of = (wanted: boolean): Environment =>
    Object.fromEntries(Object.entries(environment).filter(([name]) => isSecret(name) === wanted))
  return { env: { ...of(false), TENURE_SECRETS_FD: '0' }, input: JSON.stringify(of(true)) }
}

/** Returns the environment of a process that trains or reads models, with one thread per operation: the order of threads changes the last digits of a sum. */
export function trainerEnvironment(environment: Environment = process.env): Environment {
  return {
    ...systemEnvironment(environment),
    ...endpointEnvironment(environment),
    TF_NUM_INTRAOP_THREADS: '1',
    TF_NUM_INTEROP_THREADS: '1',
    TF_ENABLE_ONEDNN_OPTS: '0',
    TF_CPP_MIN_LOG_LEVEL: '2',
  }
}

/** The environment of a training program: without addresses, keys and bytecode files, with the package `tenure` on its path. */
export const programEnvironment = (changes: Environment): Environment => ({
  ...systemEnvironment(),
  PYTHONPATH: join(checkout, 'packages', 'python', 'src'),
  PYTHONUNBUFFERED: '1',
  PYTHONDONTWRITEBYTECODE: '1',
  ...changes,
})

const installerSettings =
  /^(?:PIP_|UV_)|^(?:https?_proxy|no_proxy|all_proxy|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE)$/i

/** The environment of an installer: with the settings of pip and uv, and with proxies. */
export function installerEnvironment(): Environment {
  const settings = Object.entries(environmentWith({})).filter(([name]) => installerSettings.test(name))
  return { ...systemEnvironment(), ...Object.fromEntries(settings) }
}

/** Returns the cache directory of downloads and Python environments. */
export function cacheDir(environment: Environment = process.env): string {
  return cacheOf(environment)
}

function gitRevision(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
      cwd: projectFolder,
      stdio: ['ignore', 'pipe', 'ignore'],
      encoding: 'utf8',
    }).trim()
  } catch {
    return 'unversioned'
  }
}
