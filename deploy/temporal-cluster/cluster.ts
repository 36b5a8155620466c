/**
 * Runs Temporal's services as separate processes on Postgres, with certificates between them and to clients:
 *
 *   npm run temporal-cluster -- schema --settings cluster.json
 *   npm run temporal-cluster -- start --settings cluster.json --address 10.0.0.5 --services frontend,history --each 1
 *   npm run temporal-cluster -- namespace --settings cluster.json --address 10.0.0.5:7233
 *
 * See docs/how-to/machines/temporal-cluster.md for the commands on each machine.
 */
import { Connection } from '@temporalio/client'
import { msToTs } from '@temporalio/common/lib/time.js'
import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { ensureSearchAttributes } from '../../cli/sync/search-attributes.ts'
import { supervise } from '../../cli/supervisor/supervisor.ts'
import { cacheDir, environmentWith } from '../../temporal.config.ts'
import { buildCluster } from '@tenure/embedded/install/temporal-cluster'
import { migrateClusterDatabases } from './databases.ts'
import { clusterConnection, planCluster } from './plan.ts'
import { clusterServices, type ClusterService } from './server-config.ts'
import { readClusterSettings } from './settings.ts'

const { values, positionals } = parseArgs({
  options: {
    settings: { type: 'string', default: 'cluster.json' },
    address: { type: 'string', default: '127.0.0.1' },
    services: { type: 'string', default: clusterServices.join(',') },
    each: { type: 'string', default: '2' },
    port: { type: 'string', default: '7233' },
    state: { type: 'string', default: '.temporal-cluster' },
    namespace: { type: 'string', default: 'default' },
    'keep-days': { type: 'string', default: '30' },
  },
  allowPositionals: true,
})

const print = (line: string): void => console.log(line)

async function programs() {
  let lastLine = ''
  return buildCluster({ cache: cacheDir(), env: environmentWith({}), arch: process.arch }, (text) => {
    const line = text.replace(/\d$/, '0')
    if (line !== lastLine && /^\d*0 of/.test(text)) print(`building Temporal, once for this machine: ${text}`)
    lastLine = line
  })
}

function whole(name: 'each' | 'port' | 'keep-days', most: number): number {
  const value = Number(values[name])
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new Error(`--${name} is a whole number from 1 to ${most}, not "${values[name]}"`)
  return value
}

function servicesOf(text: string): ClusterService[] {
  const named = text.split(',').map((each) => each.trim())
  const unknown = named.find((each) => !(clusterServices as readonly string[]).includes(each))
  if (unknown !== undefined)
    throw new Error(`--services is a list of ${clusterServices.join(', ')}, and has "${unknown}"`)
  return named as ClusterService[]
}

const commands: Readonly<Record<string, () => Promise<void>>> = {
  async build() {
    print(`the programs are in ${(await programs()).directory}`)
  },
  async schema() {
    const settings = readClusterSettings(values.settings)
    await migrateClusterDatabases(settings, (await programs()).sqlTool)
    print('the databases have the schema of this server')
  },
  async start() {
    const stateDir = resolve(values.state)
    const plan = {
      settings: readClusterSettings(values.settings),
      stateDir,
      address: values.address,
      services: servicesOf(values.services),
      each: whole('each', 8),
      firstPort: whole('port', 65_500),
    }
    const { server } = await programs()
    mkdirSync(stateDir, { recursive: true, mode: 0o700 })
    const specs = planCluster({ ...plan, server })
    const cluster = await supervise(specs, { stateDir, log: (name, line) => print(`${name} ${line}`) })
    print(`started: ${specs.map(({ name }) => name).join(', ')}`)
    await cluster.stopped
  },
  async namespace() {
    const settings = readClusterSettings(values.settings)
    const { namespace } = values
    const connection = await Connection.connect(clusterConnection(values.address, settings))
    try {
      await connection.workflowService
        .registerNamespace({
          namespace,
          workflowExecutionRetentionPeriod: msToTs(`${whole('keep-days', 3_650)} days`),
        })
        .catch((error: { code?: number }) => {
          if (error.code !== alreadyExists) throw error
        })
      await ensureSearchAttributes(connection, namespace)
    } finally {
      await connection.close()
    }
    print(`the namespace ${namespace} is there, with its search attributes`)
  },
}
/** The gRPC status code ALREADY_EXISTS. */
const alreadyExists = 6

const [command = ''] = positionals
try {
  const work = commands[command]
  if (work === undefined)
    throw new Error(`there is no command "${command}"; there are ${Object.keys(commands).join(', ')}`)
  await work()
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
}
