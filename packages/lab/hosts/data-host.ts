/** Starts Postgres, Temporal and an object store on the data host, and provides their addresses to the other hosts. */
import { appendFileSync, cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { preparePython } from '../../../store/python/python-environment.ts'
import { planPostgres, planTemporal, rolePassword } from '@tenure/embedded'
import { outgoingFetch } from '../../../store/outgoing-fetch.ts'
import {
  cacheDir,
  checkout,
  environmentWith,
  searchAttributes,
  systemEnvironment,
} from '../../../temporal.config.ts'
import {
  clientFiles,
  clientSettings,
  clusterPage,
} from '../../../test/support/temporal-cluster/cluster-page.ts'
import type { HostName, HostNetwork } from './network.ts'
import { isOpen, runOn, startOn } from './processes.ts'

export const temporalKinds = ['cluster', 'development'] as const
/** Temporal's own services with certificates, two processes each, or its development server. */
export type TemporalKind = (typeof temporalKinds)[number]

const ports = { postgres: 5432, temporal: 7233, cluster: 7300, objects: 9000 }
const bucket = 'tenure'
const temporalPassword = 'a-password-of-temporal'
/** Connections for eight processes of Temporal besides those of Tenure. */
const settings = { max_connections: '300' }

export interface DataHost {
  databaseUrl: string
  /** Address for the owner, who migrates, and the passwords of the other roles. */
  roles: { ownerDatabaseUrl: string; applicationPassword: string; readerPassword: string }
  /** The settings of a process on that host. */
  environmentOf(name: HostName): Record<string, string | undefined>
}

export async function openDataHost(network: HostNetwork, kind: TemporalKind): Promise<DataHost> {
  const { directory, address } = network.hosts.data
  const dataDir = join(directory, 'postgres')
  const postgres = await planPostgres({ dataDir, settings })
  const applicationPassword = rolePassword(dataDir, 'app')
  const readerPassword = rolePassword(dataDir, 'reader')
  appendFileSync(join(dataDir, 'pg_hba.conf'), 'host all all 10.77.0.0/16 scram-sha-256\n')
  const urlAs = (role?: string, password?: string): string => {
    const url = new URL(postgres.url)
    url.host = `${address}:${ports.postgres}`
    if (role !== undefined) Object.assign(url, { username: role, password })
    return url.toString()
  }
  await startOn(network, 'data', {
    ...postgres,
    args: [...postgres.args, '-c', `port=${ports.postgres}`, '-c', 'listen_addresses=*'],
    isReady: () => isOpen(address, ports.postgres),
  })
  await startObjects(network)
  const temporalOf = await startKind[kind](network, urlAs())
  const databaseUrl = urlAs('tenure_app', applicationPassword)
  const common = {
    ...systemEnvironment(),
    DATABASE_URL: databaseUrl,
    TENURE_READER_DATABASE_URL: urlAs('tenure_reader', readerPassword),
    TEMPORAL_ADDRESS: `${address}:${ports.temporal}`,
    TENURE_OBJECT_STORE: `s3://${bucket}/site`,
    TENURE_S3_ENDPOINT: `http://${address}:${ports.objects}`,
    AWS_ACCESS_KEY_ID: 'hosts',
    AWS_SECRET_ACCESS_KEY: 'a-secret-of-the-hosts',
    TENURE_DRILLS: 'on',
  }
  return {
    databaseUrl,
    roles: { ownerDatabaseUrl: urlAs(), applicationPassword, readerPassword },
    environmentOf: (name) => ({ ...common, ...temporalOf(name) }),
  }
}

type SettingsOfHost = (name: HostName) => Record<string, string>

/** Temporal setups; each starts Temporal and returns the client settings for a host. */
const startKind: Record<TemporalKind, (network: HostNetwork, ownerUrl: string) => Promise<SettingsOfHost>> = {
  cluster: startCluster,
  async development(network) {
    const { directory, address } = network.hosts.data
    const temporal = await planTemporal({
      dbFile: join(directory, 'temporal.db'),
      uiPort: false,
      searchAttributes,
    })
    await startOn(network, 'data', {
      ...temporal,
      args: temporal.args
        .map((each) => (each === '127.0.0.1' ? '0.0.0.0' : each))
        .map((each) => (each.startsWith('--port=') ? `--port=${ports.temporal}` : each)),
      isReady: () => isOpen(address, ports.temporal),
    })
    return () => ({})
  },
}

/**
 * Starts Temporal by the commands of its page: certificates, schema, two processes of each service, the namespace, and HAProxy in front of
 * the frontends.
 */
async function startCluster(network: HostNetwork, ownerUrl: string): Promise<SettingsOfHost> {
  const { directory, address } = network.hosts.data
  const owner = new pg.Client({ connectionString: ownerUrl })
  await owner.connect()
  await owner.query(`create role temporal login createdb password '${temporalPassword}'`)
  await owner.end()
  const place = join(directory, 'temporal')
  const page = clusterPage({
    directory: place,
    address,
    port: ports.cluster,
    databaseAddress: `postgres://temporal:${temporalPassword}@${address}:${ports.postgres}`,
  })
  await page.prepare()
  const command = (name: string, text: string) => ({
    name,
    command: 'bash',
    args: ['-e', '-c', text],
    cwd: checkout,
    env: environmentWith({ TMPDIR: join(directory, 'tmp') }),
  })
  await runOn(network, 'data', command('schema', page.block('-- schema')))
  const start = `exec ${page.block('-- start')} --state '${join(place, 'state')}'`
  await startOn(network, 'data', {
    ...command('cluster', start),
    isReady: async () => network.lines.some((line) => line.startsWith('data cluster started: ')),
  })
  await runOn(network, 'data', command('namespace', page.block('-- namespace')))
  const balancer = join(place, 'haproxy.cfg')
  const text = page.block('frontend temporal')
  writeFileSync(balancer, `${text.replace(`bind :${ports.cluster}`, `bind :${ports.temporal}`)}\n`)
  await startOn(network, 'data', {
    name: 'haproxy',
    command: 'haproxy',
    args: ['-db', '-f', balancer],
    isReady: () => isOpen(address, ports.temporal),
  })
  const placeOn = (name: HostName) => join(network.hosts[name].directory, 'temporal')
  const ofHosts = new Map<HostName, Record<string, string>>()
  for (const name of ['api1', 'api2', 'work1', 'work2'] as const) {
    mkdirSync(placeOn(name), { mode: 0o700 })
    for (const file of clientFiles) cpSync(join(place, file), join(placeOn(name), file))
    ofHosts.set(name, await clientSettings(placeOn(name)))
  }
  return (name) => ofHosts.get(name) ?? {}
}

async function startObjects(network: HostNetwork): Promise<void> {
  const { address } = network.hosts.data
  const { python } = await preparePython({
    requirements: fileURLToPath(
      new URL('../../../test/support/objects/moto-requirements.txt', import.meta.url),
    ),
    cache: cacheDir(),
    env: systemEnvironment(),
    signal: AbortSignal.timeout(900_000),
  })
  await startOn(network, 'data', {
    name: 'objects',
    command: join(python, '..', 'moto_server'),
    args: ['-H', address, '-p', String(ports.objects)],
    isReady: () => isOpen(address, ports.objects),
  })
  const made = await outgoingFetch(`http://${address}:${ports.objects}/${bucket}`, {
    method: 'PUT',
    privateHosts: 'all',
    maxBytes: 100_000,
    maxMs: 30_000,
  })
  await made.discard()
  if (!made.ok) throw new Error(`the bucket was not made: ${made.status}`)
}
