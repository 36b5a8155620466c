/**
 * Sets up an installation on the hosts as docs/how-to/several-replicas.md says: Postgres, Temporal and an object store on the data host, a
 * control and a training worker on each of two hosts, a replica on each of two more, and HAProxy with that page's configuration in front of
 * the replicas.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { ProcessSpec, RunningProcess } from '@tenure/embedded'
import type * as bootstrap from '../../../cli/supervisor/bootstrap.ts'
import { migrateAsOwner } from '../../../cli/supervisor/bootstrap.ts'
import type * as apiKeys from '../../../store/access/api-keys.ts'
import { insertKey } from '../../../store/access/api-keys.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { checkout } from '../../../temporal.config.ts'
import { blocksOf } from '../../../test/support/docs/markdown.ts'
import { waitUntil } from '../../../test/support/serving/api-process.ts'
import type { FormerBuild } from '../upgrade/former.ts'
import { openDataHost, type TemporalKind } from './data-host.ts'
import { hostAddress, type HostName, type HostNetwork } from './network.ts'
import { answersOk, endOn, isOpen, runOn, startOn } from './processes.ts'

export const siteModel = 'iris'
const ports = { api: 7400, lb: 8080 }

export interface Site {
  network: HostNetwork
  /** Address through the load balancer. */
  url: string
  store: Store
  keys: Record<'operator' | 'approver' | 'predictor', string>
  /** Starts the processes of a host that has rebooted. */
  start(name: HostName): Promise<void>
  /** Runs a command of this build on a host as the owner of the database. */
  command(name: HostName, ...words: string[]): Promise<void>
  /** Ends the processes of a host and starts those of this build. */
  upgrade(name: HostName): Promise<void>
  stop(): Promise<void>
}

export interface SiteOptions {
  temporal: TemporalKind
  /** The build that the hosts start with; this one by default. */
  former?: Pick<FormerBuild, 'commit' | 'folder' | 'load'>
}

/** The code that a host runs. */
interface Build {
  id: string
  folder: string
}
const present: Build = { id: 'present', folder: checkout }

export async function openSite(network: HostNetwork, { temporal, former }: SiteOptions): Promise<Site> {
  const { hosts } = network
  const data = await openDataHost(network, temporal)
  const first: Build = former === undefined ? present : { id: former.commit, folder: former.folder }
  const builds = new Map<HostName, Build>()
  const running = new Map<HostName, RunningProcess[]>()
  const environmentOf = (name: HostName, { id }: Build) => ({
    ...data.environmentOf(name),
    ...placesOf(hosts[name].directory),
    TENURE_HOST: hostAddress(name),
    TENURE_PORT: String(ports.api),
    TENURE_BUILD_ID: id,
  })
  const specsOf = (name: HostName): ProcessSpec[] => {
    if (name === 'lb') return [balancer(hosts.lb.directory)]
    const build = builds.get(name) ?? first
    const start = processOf(build, environmentOf(name, build))
    if (name.startsWith('api'))
      return [replicaOn(name, start('api', '--max-semi-space-size=2', 'api/start.mjs'))]
    return ['control', 'train'].map((kind) => start(kind, 'cli/launch.mjs', 'activities/worker.ts', kind))
  }
  const start = async (name: HostName): Promise<void> => {
    running.set(name, [])
    for (const spec of specsOf(name)) running.get(name)!.push(await startOn(network, name, spec))
  }
  const command = async (build: Build, name: HostName, ...words: string[]): Promise<void> => {
    const env = { ...environmentOf(name, build), TENURE_OWNER_DATABASE_URL: data.roles.ownerDatabaseUrl }
    await runOn(network, name, processOf(build, env)('tenure', 'cli/tenure.mjs', ...words))
  }
  for (const name of ['api1', 'api2', 'work1', 'work2'] as const) writeProject(hosts[name].directory)
  const ofFirst = await modulesOf(former)
  await ofFirst.migrateAsOwner(data.databaseUrl, data.roles)
  const store = openStore(data.databaseUrl, { max: 4, onError: () => {} })
  try {
    await command(first, 'work1', 'models', 'sync')
    // The first replica and the first worker make the keys, which are copied to the other hosts.
    await start('api1')
    await distribute(network, 'api1')
    await start('work1')
    await distribute(network, 'work1')
    for (const name of ['work2', 'api2', 'lb'] as const) await start(name)
    const keyOf = async (role: keyof Site['keys']) =>
      (await ofFirst.insertKey(store, { name: `hosts-${role}`, role })).key
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
      command: (name, ...words) => command(present, name, ...words),
      async upgrade(name) {
        await Promise.all(running.get(name)!.map(endOn))
        builds.set(name, present)
        await start(name)
        if (name.startsWith('api')) await waitUntil(() => answersOk(`${urlOf(name)}/readyz`), `${name} ready`)
      },
      stop: () => store.close(),
    }
  } catch (error) {
    await store.close()
    throw error
  }
}

/** Imports the modules that make the schema and the first rows from the build that reads them first. */
async function modulesOf(former: SiteOptions['former']) {
  if (former === undefined) return { migrateAsOwner, insertKey }
  return {
    ...(await former.load<typeof bootstrap>('cli/supervisor/bootstrap.ts')),
    ...(await former.load<typeof apiKeys>('store/access/api-keys.ts')),
  }
}

/** Address of one replica, without the load balancer. */
export const urlOf = (name: HostName): string => `http://${hostAddress(name)}:${ports.api}`

/** Paths that each host has privately. */
const placesOf = (directory: string) => ({
  TMPDIR: join(directory, 'tmp'),
  TENURE_STATE: join(directory, 'state'),
  TENURE_PROJECT: join(directory, 'project'),
  TENURE_KEYS: join(directory, 'keys'),
  TENURE_TRUST: join(directory, 'trust'),
  TENURE_SUBJECT_KEY: join(directory, 'subject', 'subjects.key'),
})

/**
 * Writes the project of a host: the shipped model with a wide margin. All retrainings of the story are judged on the same test rows, and
 * each of them widens the intervals of the next ones, so that the last releases would find no version within the shipped margin.
 */
function writeProject(directory: string): void {
  const { TENURE_PROJECT: folder } = placesOf(directory)
  const models = join(checkout, 'models')
  let text = readFileSync(join(models, `${siteModel}.ts`), 'utf8')
  for (const [from, to] of [
    ["from './define.ts'", "from 'tenure'"],
    ['margin: 0.1,', 'margin: 0.5,'],
  ] as const) {
    if (!text.includes(from)) throw new Error(`models/${siteModel}.ts has no longer ${from}`)
    text = text.replace(from, to)
  }
  cpSync(join(models, 'data', `${siteModel}.csv`), join(folder, 'models', 'data', `${siteModel}.csv`))
  writeFileSync(join(folder, 'models', `${siteModel}.ts`), text)
  writeFileSync(join(folder, 'tenure.config.json'), '{}\n')
}

/** Copies keys that a host has made: private keys to the host with the same processes; public keys and the subject key to all. */
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
  api1: { twin: 'api2', purposes: ['replicas', 'certificates'], secrets: [join('subject', 'subjects.key')] },
  work1: { twin: 'work2', purposes: ['artifacts', 'heads'], secrets: [] },
}

/** Starts a script of a build. */
const processOf =
  ({ folder }: Build, env: ProcessSpec['env']) =>
  (name: string, ...args: string[]): ProcessSpec => ({
    name,
    command: process.execPath,
    args,
    env,
    cwd: folder,
  })

const replicaOn = (name: HostName, spec: ProcessSpec): ProcessSpec => ({
  ...spec,
  isReady: () => answersOk(`${urlOf(name)}/livez`),
})

/** Configures HAProxy as the page does, for these hosts. */
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
