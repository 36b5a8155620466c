/**
 * Sets an installation up on the hosts as docs/how-to/several-replicas.md says: Postgres, Temporal and an object store on the data host, a control
 * and a training worker on each of two hosts, a replica on each of two, and HAProxy with the configuration of that page before the replicas.
 */
import { appendFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { preparePython } from '../../activities/trainers/python-environment.ts'
import { planPostgres } from '../../cli/embedded/postgres.ts'
import { type ProcessSpec, type RunningProcess } from '../../cli/embedded/process.ts'
import { planTemporal } from '../../cli/embedded/temporal.ts'
import { migrateAsOwner } from '../../cli/supervisor/bootstrap.ts'
import { insertKey } from '../../store/access/api-keys.ts'
import { openStore, type Store } from '../../store/postgres.ts'
import { outgoingFetch } from '../../store/outgoing-fetch.ts'
import { cacheDir, checkout, launcher, searchAttributes, systemEnvironment } from '../../temporal.config.ts'
import { blocksOf } from '../../test/support/docs/markdown.ts'
import { waitUntil } from '../../test/support/serving/api-process.ts'
import { hostAddress, type HostName, type HostNetwork } from './network.ts'

export const siteModel = 'iris'
const ports = { postgres: 5432, temporal: 7233, objects: 9000, api: 7400, lb: 8080 }
const bucket = 'tenure'

export interface Site {
  network: HostNetwork
  /** Through the load balancer. */
  url: string
  store: Store
  keys: Record<'operator' | 'approver' | 'predictor', string>
  /** Starts the processes of a host that has booted again. */
  start(name: HostName): Promise<void>
  stop(): Promise<void>
}

export async function openSite(network: HostNetwork): Promise<Site> {
  const { hosts } = network
  const data = await planData(network)
  const start = async (name: HostName): Promise<void> => {
    for (const spec of specsOf(name)) await startOn(network, name, spec)
  }
  const environmentOf = (name: HostName) => ({
    ...data.environment,
    ...placesOf(hosts[name].directory),
    ...ownOf(name),
  })
  const specsOf = (name: HostName): ProcessSpec[] => {
    const env = environmentOf(name)
    if (name === 'data') return data.specs
    if (name === 'lb') return [balancer(hosts.lb.directory)]
    if (name.startsWith('api')) return [replicaOn(name, env)]
    return [workerOn('control', env), workerOn('train', env)]
  }
  await start('data')
  await migrateAsOwner(data.databaseUrl, data)
  const made = await outgoingFetch(`http://${hostAddress('data')}:${ports.objects}/${bucket}`, {
    method: 'PUT',
  })
  if (!made.ok) throw new Error(`the bucket was not made: ${made.status}`)
  const store = openStore(data.databaseUrl, { max: 4, onError: () => {} })
  try {
    await runOn(network, 'work1', commandOn(['models', 'sync'], { ...environmentOf('work1'), ...data.owner }))
    // The first replica and the first worker make the keys, which are copied to the other hosts.
    await start('api1')
    await distribute(network, 'api1')
    await start('work1')
    await distribute(network, 'work1')
    for (const name of ['work2', 'api2', 'lb'] as const) await start(name)
    const keyOf = async (role: keyof Site['keys']) =>
      (await insertKey(store, { name: `hosts-${role}`, role })).key
    const url = `http://${hostAddress('lb')}:${ports.lb}`
    await waitUntil(() => answersOk(`${url}/readyz`), 'the load balancer')
    return {
      network,
      url,
      store,
      keys: {
        operator: await keyOf('operator'),
        approver: await keyOf('approver'),
        predictor: await keyOf('predictor'),
      },
      start,
      stop: () => store.close(),
    }
  } catch (error) {
    await store.close()
    throw error
  }
}

/** Of a replica itself. */
export const urlOf = (name: HostName): string => `http://${hostAddress(name)}:${ports.api}`

/** The paths that each host has of its own. */
const placesOf = (directory: string) => ({
  TMPDIR: join(directory, 'tmp'),
  TENURE_STATE: join(directory, 'state'),
  TENURE_KEYS: join(directory, 'keys'),
  TENURE_TRUST: join(directory, 'trust'),
  TENURE_SUBJECT_KEY: join(directory, 'subject', 'subjects.key'),
})

const ownOf = (name: HostName) => ({ TENURE_HOST: hostAddress(name), TENURE_PORT: String(ports.api) })

/** What a host has made: private keys go to the host with the same processes; public keys and the key of subjects to all. */
async function distribute({ hosts }: HostNetwork, from: 'work1' | 'api1'): Promise<void> {
  const source = hosts[from].directory
  const { twin, purposes, secrets } = madeBy[from]
  const kept = purposes.map((each) => join('keys', each, 'private.pem'))
  const open = purposes.map((each) => join('trust', each, 'trusted.json'))
  const files = [...kept, ...open, ...secrets]
  await waitUntil(() => files.every((each) => existsSync(join(source, each))), `the keys of ${from}`)
  for (const name of ['work1', 'work2', 'api1', 'api2'] as const)
    for (const path of name === from ? [] : name === twin ? files : [...open, ...secrets]) {
      const target = join(hosts[name].directory, path)
      mkdirSync(dirname(target), { recursive: true, mode: 0o700 })
      cpSync(join(source, path), target)
    }
}

const madeBy = {
  api1: { twin: 'api2', purposes: ['commands'], secrets: [join('subject', 'subjects.key')] },
  work1: { twin: 'work2', purposes: ['artifacts', 'heads'], secrets: [] },
}

const script = (name: string, env: ProcessSpec['env'], ...args: string[]): ProcessSpec => ({
  name,
  command: process.execPath,
  args,
  env,
  cwd: checkout,
})
const commandOn = (words: string[], env: ProcessSpec['env']) =>
  script('tenure', env, 'cli/tenure.mjs', ...words)
const workerOn = (kind: 'control' | 'train', env: ProcessSpec['env']) =>
  script(kind, env, launcher, 'activities/worker.ts', kind)
const replicaOn = (name: HostName, env: ProcessSpec['env']): ProcessSpec => ({
  ...script('api', env, '--max-semi-space-size=2', 'api/start.mjs'),
  isReady: () => answersOk(`${urlOf(name)}/livez`),
})

/** As the page configures it, for these hosts. */
function balancer(directory: string): ProcessSpec {
  const page = readFileSync(join(checkout, 'docs', 'how-to', 'several-replicas.md'), 'utf8')
  const block = blocksOf(page).find(({ language }) => language === 'haproxy')
  if (block === undefined) throw new Error('the page has no configuration of HAProxy')
  const file = join(directory, 'haproxy.cfg')
  const text = block.text
    .replaceAll('10.0.0.11', hostAddress('api1'))
    .replaceAll('10.0.0.12', hostAddress('api2'))
    .replaceAll('bind :443 ssl crt /etc/haproxy/tenure.pem', `bind :${ports.lb}`)
  writeFileSync(file, `${text}\n`)
  return {
    name: 'haproxy',
    command: 'haproxy',
    args: ['-db', '-f', file],
    isReady: () => isOpen(hostAddress('lb'), ports.lb),
  }
}

/** Postgres, Temporal and the object store: what runs on the data host, and how the others reach it. */
async function planData({ hosts }: HostNetwork) {
  const { directory, address } = hosts.data
  const postgres = await planPostgres({ dataDir: join(directory, 'postgres') })
  appendFileSync(join(directory, 'postgres', 'pg_hba.conf'), 'host all all 10.77.0.0/16 scram-sha-256\n')
  const urlAs = (role?: string, password?: string): string => {
    const url = new URL(postgres.url)
    url.host = `${address}:${ports.postgres}`
    if (role !== undefined) Object.assign(url, { username: role, password })
    return url.toString()
  }
  const temporal = await planTemporal({
    dbFile: join(directory, 'temporal.db'),
    uiPort: false,
    searchAttributes,
  })
  const { python } = await preparePython({
    requirements: fileURLToPath(new URL('../../test/support/objects/moto-requirements.txt', import.meta.url)),
    cache: cacheDir(),
    env: systemEnvironment(),
    signal: AbortSignal.timeout(900_000),
  })
  const databaseUrl = urlAs('tenure_app', postgres.applicationPassword)
  const ownerDatabaseUrl = urlAs()
  const specs: ProcessSpec[] = [
    {
      ...postgres,
      args: [...postgres.args, '-c', `port=${ports.postgres}`, '-c', 'listen_addresses=*'],
      isReady: () => isOpen(address, ports.postgres),
    },
    {
      ...temporal,
      args: temporal.args
        .map((each) => (each === '127.0.0.1' ? '0.0.0.0' : each))
        .map((each) => (each.startsWith('--port=') ? `--port=${ports.temporal}` : each)),
      isReady: () => isOpen(address, ports.temporal),
    },
    {
      name: 'objects',
      command: join(python, '..', 'moto_server'),
      args: ['-H', address, '-p', String(ports.objects)],
      isReady: () => isOpen(address, ports.objects),
    },
  ]
  return {
    specs,
    databaseUrl,
    ownerDatabaseUrl,
    applicationPassword: postgres.applicationPassword,
    readerPassword: postgres.readerPassword,
    owner: { TENURE_OWNER_DATABASE_URL: ownerDatabaseUrl },
    environment: {
      ...systemEnvironment(),
      DATABASE_URL: databaseUrl,
      TENURE_READER_DATABASE_URL: urlAs('tenure_reader', postgres.readerPassword),
      TEMPORAL_ADDRESS: `${address}:${ports.temporal}`,
      TENURE_OBJECT_STORE: `s3://${bucket}/site`,
      TENURE_S3_ENDPOINT: `http://${address}:${ports.objects}`,
      AWS_ACCESS_KEY_ID: 'hosts',
      AWS_SECRET_ACCESS_KEY: 'a-secret-of-the-hosts',
      TENURE_DRILLS: 'on',
    },
  }
}

async function startOn(
  { hosts, lines }: HostNetwork,
  name: HostName,
  spec: ProcessSpec,
): Promise<RunningProcess> {
  const running = await hosts[name].run(spec)
  let ended = false
  void running.exited.then(() => (ended = true))
  await waitUntil(async () => {
    if (ended) throw new Error(`${spec.name} on ${name} has ended:\n${lines.slice(-30).join('\n')}`)
    return spec.isReady === undefined || (await spec.isReady(running.pid).catch(() => false))
  }, `${spec.name} on ${name}`)
  return running
}

/** A command that ends. */
async function runOn({ hosts, lines }: HostNetwork, name: HostName, spec: ProcessSpec): Promise<void> {
  const { code } = await (await hosts[name].run(spec)).exited
  if (code !== 0)
    throw new Error(`${spec.args.join(' ')} on ${name} ended with ${code}:\n${lines.slice(-30).join('\n')}`)
}

const answersOk = (url: string): Promise<boolean> =>
  outgoingFetch(url, { signal: AbortSignal.timeout(1_000) }).then(
    async (answer) => {
      await answer.body?.cancel()
      return answer.ok
    },
    () => false,
  )

const isOpen = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, host)
    const end = (is: boolean) => {
      socket.destroy()
      resolve(is)
    }
    socket.setTimeout(1_000, () => end(false))
    socket.once('connect', () => end(true)).once('error', () => end(false))
  })
