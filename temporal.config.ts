/**
 * Reads the environment; no other file does. Reports all missing or invalid variables together, because one by one they would cost a
 * restart each.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DomainError } from './domain/errors.ts'
import { parseOidc } from './domain/access/oidc-config.ts'
import { isPackage, issuesOfServers, project } from './scripts/build/project.mjs'
import { readBackups, readObjectStore } from './store/objects/settings.ts'
import { issuesOfPostgresUrl, readTls, readTrust } from './store/tls/settings.ts'
import { replacedFiles, withSecretFiles } from './store/secret-files.ts'
import { readTemporal } from './temporal/settings.ts'
import { readTelemetry } from './telemetry/settings.ts'

export const taskQueues = { control: 'tenure-control', train: 'tenure-train' } as const

/** Created in the namespace at start; all of the type Keyword. */
export const searchAttributes = ['Model', 'ReleaseStage', 'CandidateVersion', 'Outcome'] as const

export type Config = ReturnType<typeof readConfig>

export interface Mirror {
  url: string
  token?: string
}

/** The code of Tenure with its migrations, pages and packages. */
export const checkout = dirname(fileURLToPath(import.meta.url))
/** The folder that the paths of model files are relative to, with the settings and the state: the checkout, unless a project has its own. */
export const projectFolder = project.folder
/** The command that sets up the parts. */
export const setUpCommand = isPackage ? 'npx tenure setup' : 'npm run setup'
/** Runs a source file of the checkout as a process, compiled: `node <launcher> activities/worker.ts control`. */
export const launcher = join(checkout, 'scripts', 'launch.mjs')

/** Settings of the `tenure` command. */
export type CommandConfig = ReturnType<typeof readCommandConfig>

type Environment = Record<string, string | undefined>

/** Reads and checks the variables of a system process. Throws `configuration_invalid` with every issue. */
export function readConfig(variables: Environment = process.env) {
  const { environment, issues, given, text, whole, oneOf, listOf, mirrorOf } = readerOf(variables)
  const databaseUrl = text('DATABASE_URL')
  const readerUrl = given('TENURE_READER_DATABASE_URL')
  issues.push(...issuesOfPostgresUrl('DATABASE_URL', databaseUrl))
  issues.push(...issuesOfPostgresUrl('TENURE_READER_DATABASE_URL', readerUrl))
  const stateDir = resolve(text('TENURE_STATE', join(projectFolder, '.tenure')))
  const temporal = readTemporal(environment, issues)
  // Ignored, the processes would make new keys, and load no version.
  if ('TENURE_SIGNING_KEY' in environment)
    issues.push(
      'TENURE_SIGNING_KEY is replaced by TENURE_KEYS: put the file there as signing.pem (docs/how-to/rotate-keys.md)',
    )
  const publicUrl = (given('TENURE_PUBLIC_URL') ?? originOf(environment['TENURE_OIDC_REDIRECT']))?.replace(
    /\/+$/,
    '',
  )
  if (publicUrl !== undefined && (!/^https?:\/\/./.test(publicUrl) || !URL.canParse(publicUrl)))
    issues.push(`TENURE_PUBLIC_URL is an http:// or https:// address, not "${publicUrl}"`)
  const keys = resolve(text('TENURE_KEYS', join(stateDir, 'keys')))
  const invocationsModel = given('TENURE_INVOCATIONS_MODEL')
  if (invocationsModel !== undefined && !/^[a-z][\w-]{0,99}$/i.test(invocationsModel))
    issues.push(`TENURE_INVOCATIONS_MODEL is the name of a model, not "${invocationsModel}"`)
  if (!/^[\w-]{1,40}$/.test(environment['TENURE_REPLICA'] ?? '1'))
    issues.push('TENURE_REPLICA is a short name of letters, digits, - and _')
  const config = {
    databaseUrl,
    /** Connects as the role that reads queries of batches, sources and outcome tables. Default: `tenure_reader` of DATABASE_URL. */
    readerUrl,
    temporal,
    taskQueues: {
      control: text('TENURE_CONTROL_QUEUE', taskQueues.control),
      train: text('TENURE_TRAIN_QUEUE', taskQueues.train),
    },
    ...readObjectStore(environment, issues),
    /** Artifacts, snapshots and checkpoints: shared by all machines, or the copies of this one beside an object store. */
    artifactRoot: resolve(text('TENURE_ARTIFACTS', join(stateDir, 'artifacts'))),
    /** State of this machine alone: data of embedded servers, routing cache, spool. */
    stateDir,
    /** Where the signing keys are; each is created at the first start of the process that signs with it. */
    signing: {
      keys,
      trust: resolve(text('TENURE_TRUST', join(keys, 'public'))),
      /** The secret that hashes erased subjects, for workers and replicas. */
      subjectKey: resolve(text('TENURE_SUBJECT_KEY', join(keys, 'subjects.key'))),
    },
    api: {
      host: text('TENURE_HOST', '127.0.0.1'),
      port: whole('TENURE_PORT', 7400, 0, 65_535),
      /** The certificate of HTTPS and of gRPC; absent for plain HTTP. */
      tls: readTls(environment, issues),
      /** Names besides addresses and localhost under which the API is reached. */
      allowedHosts: [
        ...listOf('TENURE_ALLOWED_HOSTS', /^\.?[\w-]+(\.[\w-]+)*$/, 'names such as tenure.example.com'),
        environment['TENURE_HOST'] ?? '',
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
      /** Whether a response waits until its row is committed. */
      predictionLog: oneOf('TENURE_PREDICTION_LOG', 'best-effort', ['best-effort', 'durable']),
      /** Cached predictions of models that are not compiled. */
      predictionCache: whole('TENURE_PREDICTION_CACHE', 0, 0, 1_000_000),
      /** Whether predictions are read from their sockets directly; otherwise Node's HTTP server parses every request. */
      fastPath: oneOf('TENURE_FAST_PATH', 'on', ['on', 'off']) === 'on',
      /** Port of the Open Inference Protocol over gRPC; absent for none. */
      grpcPort: whole('TENURE_GRPC_PORT', undefined, 0, 65_535),
      /** The file of streams; absent for none. */
      streams: given('TENURE_STREAMS'),
      /** The model of `/invocations`. Default: the only one that is served. */
      invocationsModel,
      replicaLeaseMs: whole('TENURE_REPLICA_LEASE_MS', 5_000, 100, 600_000),
      /** The index of this API process on its machine. */
      slot: text('TENURE_REPLICA', '1'),
      /** The file descriptor of the port shared with the others; absent when none is shared. */
      sharedFd: whole('TENURE_SHARED_FD', undefined, 3, 1_023),
      /** The file that names the processes of the supervisor that started this one. */
      supervisor: given('TENURE_SUPERVISOR'),
    },
    /** Days that predictions, decisions, snapshots with an erased subject, and scored days of batches are kept; the budget of artifacts and snapshots. */
    retention: {
      predictionDays: whole('TENURE_KEEP_PREDICTIONS_DAYS', 90, 1, 36_500),
      judgementDays: whole('TENURE_KEEP_JUDGEMENTS_DAYS', 400, 1, 36_500),
      erasedSnapshotDays: whole('TENURE_KEEP_ERASED_SNAPSHOTS_DAYS', 30, 0, 36_500),
      // A day of the last 400 would be scored again.
      partitionDays: whole('TENURE_KEEP_PARTITIONS_DAYS', 800, 402, 36_500),
      artifactsMb: whole('TENURE_KEEP_ARTIFACTS_MB', 51_200, 1, 1_000_000_000),
    },
    /** Downloads and Python environments, kept by this machine. */
    cacheDir: cacheDir(environment),
    /** Memory limit of a training process in MiB. Default: unlimited. */
    trainingMemoryMb: whole('TENURE_TRAINING_MEMORY_MB', undefined, 256, 100_000_000),
    worker: {
      maxWorkflows: whole('TENURE_MAX_WORKFLOWS', 200, 1, 100_000),
      maxActivities: whole('TENURE_MAX_ACTIVITIES', 40, 1, 10_000),
      versioning: oneOf('WORKER_VERSIONING', 'off', ['on', 'off']) === 'on',
    },
    /** The directory of batch files, and the address of the pages, without a slash at its end; absent when it is not known. */
    batchDir: resolve(text('TENURE_BATCHES', join(stateDir, 'batches'))),
    publicUrl,
    /** How calls to other replicas, and of `tenure up` to its own, check the certificate of the API. */
    trust: readTrust(environment, issues),
    /** The files with the sources of external metrics and with the alert channels, the folder with the secrets of applied ones, and the base address of runbooks. */
    metricSources: resolve(text('TENURE_METRIC_SOURCES', join(stateDir, 'metric-sources.json'))),
    alertChannels: resolve(text('TENURE_ALERT_CHANNELS', join(stateDir, 'alert-channels.json'))),
    secrets: resolve(text('TENURE_SECRETS', join(stateDir, 'secrets'))),
    runbooks: text('TENURE_RUNBOOKS', join(checkout, 'docs', 'runbooks')),
    /** Systems that receive trainings, versions and releases; absent when not configured. */
    mirrors: { mlflow: mirrorOf('TENURE_MLFLOW'), openlineage: mirrorOf('TENURE_OPENLINEAGE') },
    /** The single sign-on provider; absent when not configured. */
    oidc: parseOidc(environment, issues, whole('TENURE_OIDC_KEY_DAYS', 30, 1, 3_650)),
    /** Where traces, metrics and logs go; absent when OpenTelemetry is off. */
    telemetry: readTelemetry(environment, issues),
    buildId: environment['TENURE_BUILD_ID'] ?? gitRevision(),
    logLevel: oneOf('LOG_LEVEL', 'info', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  }
  refuse(issues)
  return config
}

/** Reads and checks the variables of the `tenure` command. Throws `configuration_invalid` with every issue. */
export function readCommandConfig(variables: Environment = process.env) {
  const { environment, issues, given, text, whole, oneOf } = readerOf(variables)
  issues.push(...issuesOfServers(environment))
  const url = given('TENURE_URL')
  if (url !== undefined && !/^https?:\/\/./.test(url))
    issues.push('TENURE_URL is an http:// or https:// address')
  const config = {
    /** The folder of the models, the data and the settings. */
    project: given('TENURE_PROJECT') ?? projectFolder,
    /** Default: found by cli/embedded/state-dir.ts. */
    stateDir: given('TENURE_STATE') && resolve(given('TENURE_STATE') ?? ''),
    /** Address and key of the API. Default: what `tenure up` has written to the state directory. */
    url,
    key: given('TENURE_KEY'),
    /** How the certificate of the API is checked, and that of the caller. */
    trust: readTrust(environment, issues),
    ...readBackups(environment, issues),
    /** External servers; `tenure up` starts its own where absent. */
    databaseUrl: given('DATABASE_URL'),
    temporalAddress: given('TEMPORAL_ADDRESS'),
    /** The owner of the tables, for migrations. Default: the role of DATABASE_URL. */
    ownerDatabaseUrl: given('TENURE_OWNER_DATABASE_URL'),
    host: text('TENURE_HOST', '127.0.0.1'),
    /** Preferred ports of `tenure up`; a port in use is replaced by a free one. */
    ports: {
      api: whole('TENURE_PORT', 7400, 0, 65_535),
      postgres: whole('TENURE_POSTGRES_PORT', 7432, 0, 65_535),
      temporal: whole('TENURE_TEMPORAL_PORT', 7233, 0, 65_535),
      temporalUi: whole('TENURE_TEMPORAL_UI_PORT', 8233, 0, 65_535),
    },
    /** Whether `tenure up` starts Temporal's own pages, which ask for no key. */
    temporalUi: oneOf('TENURE_TEMPORAL_UI', 'off', ['on', 'off']) === 'on',
  }
  refuse(issues)
  return config
}

/** Why keys may be read on their way to the API; undefined when they cannot, or a proxy with TLS is known. */
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

/** The version in package.json. */
export const readVersion = (): string =>
  (JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as { version: string }).version

/** The environment of a child process: its own, with some variables set. */
export function environmentWith(changes: Environment, environment: Environment = process.env): Environment {
  return { ...environment, ...replacedFiles(changes), ...changes }
}

function readerOf(variables: Environment) {
  const issues = [...project.issues]
  const environment = withSecretFiles(variables, issues)
  /** Empty means absent. */
  const given = (name: string): string | undefined => environment[name] || undefined
  return {
    environment,
    issues,
    given,
    text(name: string, fallback?: string): string {
      const value = environment[name] ?? fallback
      if (value === undefined || value === '') issues.push(`${name} is missing`)
      return value ?? ''
    },
    whole<T extends number | undefined>(name: string, fallback: T, min: number, max: number): number | T {
      if (environment[name] === undefined) return fallback
      const value = Number(environment[name])
      if (!Number.isInteger(value) || value < min || value > max)
        issues.push(`${name} is a whole number from ${min} to ${max}, not "${environment[name]}"`)
      return value
    },
    oneOf<T extends string>(name: string, fallback: T, values: readonly T[]): T {
      const value = (environment[name] ?? fallback) as T
      if (!values.includes(value)) issues.push(`${name} is one of ${values.join(', ')}, not "${value}"`)
      return value
    },
    listOf(name: string, pattern: RegExp, what: string): string[] {
      const entries = (given(name) ?? '').split(',').map((entry) => entry.trim())
      const named = entries.filter((entry) => entry !== '')
      if (!named.every((entry) => pattern.test(entry))) issues.push(`${name} is a list of ${what}`)
      return named
    },
    /** The address in `…_URL` and an optional key in `…_TOKEN`. */
    mirrorOf(name: string): Mirror | undefined {
      const url = given(`${name}_URL`)
      const token = given(`${name}_TOKEN`)
      if (url === undefined) return undefined
      if (!/^https?:\/\/./.test(url) || !URL.canParse(url))
        issues.push(`${name}_URL is an http:// or https:// address`)
      return { url, token }
    },
  }
}

function refuse(issues: string[]): void {
  if (issues.length === 0) return
  const message = `the configuration has ${issues.length} issue(s): ${issues.join('; ')}`
  throw new DomainError('configuration_invalid', message, { issues })
}

const originOf = (address = '') => (URL.canParse(address) ? new URL(address).origin : undefined)

const hostOf = (address = ''): string => (URL.canParse(address) ? new URL(address).hostname : '')

/** The environment of a process that needs no setting: no addresses, no keys. */
export function systemEnvironment(environment: Environment = process.env): Environment {
  const { PATH, HOME, TMPDIR, TZ, LANG, LC_ALL, LD_LIBRARY_PATH, TENURE_PROJECT } = environment
  return { PATH, HOME, TMPDIR, TZ, LANG, LC_ALL, LD_LIBRARY_PATH, TENURE_PROJECT }
}

/** Secrets that only some processes use. */
const secretsOf = {
  api: ['TENURE_OIDC_CLIENT_SECRET'],
  worker: ['TENURE_MLFLOW_TOKEN', 'TENURE_OPENLINEAGE_TOKEN'],
  command: ['TENURE_OWNER_DATABASE_URL', 'TENURE_KEY'],
} as const

/** The environment of a worker or a replica: that of the command that starts it, without the secrets of other processes. */
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

/** The environment of a training process has one thread per operation, because thread order changes the last digits of a sum. */
export function trainerEnvironment(environment: Environment = process.env): Environment {
  return {
    ...systemEnvironment(environment),
    TF_NUM_INTRAOP_THREADS: '1',
    TF_NUM_INTEROP_THREADS: '1',
    TF_ENABLE_ONEDNN_OPTS: '0',
    TF_CPP_MIN_LOG_LEVEL: '2',
  }
}

/** The cache directory of downloads and of Python environments. */
export function cacheDir(environment: Environment = process.env): string {
  return environment['TENURE_CACHE'] ?? join(environment['HOME'] ?? homedir(), '.cache', 'tenure')
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
