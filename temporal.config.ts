/**
 * The only reader of the environment. Every process takes its addresses, names and limits from here, and all
 * missing or wrong variables are reported together; read one by one they cost a restart each.
 */
import { loadClientConnectConfig } from '@temporalio/envconfig'
import { execFileSync } from 'node:child_process'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DomainError } from './domain/errors.ts'

export const taskQueues = { control: 'tenure-control', train: 'tenure-train' } as const

/** Created in the namespace at start; all of the type Keyword. */
export const searchAttributes = ['Model', 'ReleaseStage', 'CandidateVersion', 'Outcome'] as const

export interface Config {
  databaseUrl: string
  temporal: { address: string; namespace: string; apiKey?: string; tls?: unknown }
  taskQueues: { control: string; train: string }
  /** Where artifacts, snapshots and checkpoints are kept, shared by workers and replicas. */
  artifactRoot: string
  /** What belongs to this machine alone: embedded servers' data, routing cache, spool. */
  stateDir: string
  api: { host: string; port: number; publicPredictions: boolean; replicaLeaseMs: number; drills: boolean }
  worker: { maxWorkflows: number; maxActivities: number; versioning: boolean }
  buildId: string
  logLevel: string
}

export const checkout = dirname(fileURLToPath(import.meta.url))

type Environment = Record<string, string | undefined>

/** Reads and checks all variables. Throws `configuration_invalid` with every issue in its message. */
export function readConfig(environment: Environment = process.env): Config {
  const issues: string[] = []
  const text = (name: string, fallback?: string): string => {
    const value = environment[name] ?? fallback
    if (value === undefined || value === '') issues.push(`${name} is missing`)
    return value ?? ''
  }
  const whole = (name: string, fallback: number, min: number, max: number): number => {
    const value = Number(environment[name] ?? fallback)
    if (!Number.isInteger(value) || value < min || value > max)
      issues.push(`${name} is a whole number from ${min} to ${max}, not "${environment[name]}"`)
    return value
  }
  const oneOf = <T extends string>(name: string, fallback: T, values: readonly T[]): T => {
    const value = (environment[name] ?? fallback) as T
    if (!values.includes(value)) issues.push(`${name} is one of ${values.join(', ')}, not "${value}"`)
    return value
  }
  const databaseUrl = text('DATABASE_URL')
  if (databaseUrl !== '' && !/^postgres(ql)?:\/\//.test(databaseUrl))
    issues.push('DATABASE_URL is a postgres:// address')
  const stateDir = resolve(text('TENURE_STATE', join(checkout, '.tenure')))
  const temporal = readTemporal(environment, issues)
  const config: Config = {
    databaseUrl,
    temporal,
    taskQueues: {
      control: text('TENURE_CONTROL_QUEUE', taskQueues.control),
      train: text('TENURE_TRAIN_QUEUE', taskQueues.train),
    },
    artifactRoot: resolve(text('TENURE_ARTIFACTS', join(stateDir, 'artifacts'))),
    stateDir,
    api: {
      host: text('TENURE_HOST', '127.0.0.1'),
      port: whole('TENURE_PORT', 7400, 0, 65_535),
      publicPredictions: oneOf('TENURE_PUBLIC_PREDICTIONS', 'off', ['on', 'off']) === 'on',
      drills: oneOf('TENURE_DRILLS', 'off', ['on', 'off']) === 'on',
      replicaLeaseMs: whole('TENURE_REPLICA_LEASE_MS', 5_000, 100, 600_000),
    },
    worker: {
      maxWorkflows: whole('TENURE_MAX_WORKFLOWS', 200, 1, 100_000),
      maxActivities: whole('TENURE_MAX_ACTIVITIES', 40, 1, 10_000),
      versioning: oneOf('WORKER_VERSIONING', 'off', ['on', 'off']) === 'on',
    },
    buildId: environment['TENURE_BUILD_ID'] ?? gitRevision(),
    logLevel: oneOf('LOG_LEVEL', 'info', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  }
  if (issues.length > 0)
    throw new DomainError(
      'configuration_invalid',
      `the configuration has ${issues.length} issue(s): ${issues.join('; ')}`,
      {
        issues,
      },
    )
  return config
}

/** TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_* and profiles, as every Temporal client reads them. */
function readTemporal(environment: Environment, issues: string[]): Config['temporal'] {
  try {
    const read = loadClientConnectConfig({ overrideEnvVars: environment as Record<string, string> })
    return {
      address: read.connectionOptions.address ?? '127.0.0.1:7233',
      namespace: read.namespace ?? 'default',
      ...(read.connectionOptions.apiKey === undefined
        ? {}
        : { apiKey: String(read.connectionOptions.apiKey) }),
      ...(read.connectionOptions.tls === undefined ? {} : { tls: read.connectionOptions.tls }),
    }
  } catch (error) {
    issues.push(`TEMPORAL_*: ${error instanceof Error ? error.message : String(error)}`)
    return { address: '', namespace: '' }
  }
}

/** The directory for what is fetched once: libtensorflow, the Temporal binary. */
export function cacheDir(environment: Environment = process.env): string {
  return environment['TENURE_CACHE'] ?? join(environment['HOME'] ?? homedir(), '.cache', 'tenure')
}

function gitRevision(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
      cwd: checkout,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .toString()
      .trim()
  } catch {
    return 'unversioned'
  }
}
