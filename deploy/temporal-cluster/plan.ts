/** Plans the processes of a Temporal cluster on one machine, as data for the supervisor. Each process has its own configuration. */
import { Connection } from '@temporalio/client'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { ChildSpec } from '../../cli/supervisor/supervisor.ts'
import {
  clusterServices,
  dynamicConfig,
  serverConfigOf,
  type ClusterProcess,
  type ClusterService,
} from './server-config.ts'
import type { ClusterSettings } from './settings.ts'

const probeMs = 1_000
/** Certificates authenticate clients, so the server needs no other authorization. */
const unproven = ['--allow-no-auth']

export interface ClusterPlan {
  settings: ClusterSettings
  /** Path of the server program. */
  server: string
  /** Directory of the configuration files. */
  stateDir: string
  address: string
  services: readonly ClusterService[]
  /** Number of processes per service. */
  each: number
  /** Each process uses two ports, counted from this one. */
  firstPort: number
}

export function planCluster(plan: ClusterPlan): ChildSpec[] {
  const { settings, server, stateDir, address, services, each, firstPort } = plan
  const directory = join(stateDir, 'config')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const dynamic = join(directory, 'dynamic.yaml')
  write(dynamic, dynamicConfig)
  const places = clusterServices
    .filter((service) => services.includes(service))
    .flatMap((service) => Array.from({ length: each }, (_, index) => ({ service, index })))
  const nameOf = ({ service, index }: (typeof places)[number]) => `${service}-${index + 1}`
  // The first process starts alone: of several processes that write the cluster metadata into new databases at once, some would exit. It is
  // not a frontend, because a frontend becomes ready only with the others.
  const first = places.find(({ service }) => service !== 'frontend')
  const specs = places.map((placed, place): ChildSpec => {
    const { service } = placed
    const name = nameOf(placed)
    const process: ClusterProcess = { service, address, port: firstPort + 2 * place }
    write(join(directory, `${name}.yaml`), serverConfigOf(process, settings, dynamic))
    return {
      name,
      command: server,
      args: [
        '--root',
        stateDir,
        '--config',
        'config',
        '--env',
        name,
        ...unproven,
        'start',
        '--service',
        service,
      ],
      cwd: '/',
      ...(first !== undefined && first !== placed && { after: [nameOf(first)] }),
      isReady: () => (service === 'frontend' ? answers(process, settings) : listens(process)),
    }
  })
  // A process must be declared before those that wait for it.
  return specs.toSorted((a, b) => (a.after?.length ?? 0) - (b.after?.length ?? 0))
}

/** Writes JSON, which is valid YAML. Only the owner can read the file, which holds the password of the database. */
const write = (path: string, content: object): void =>
  writeFileSync(path, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 })

async function answers({ address, port }: ClusterProcess, settings: ClusterSettings): Promise<boolean> {
  const connection = Connection.lazy({
    ...clusterConnection(`${address}:${port}`, settings),
    connectTimeout: probeMs,
  })
  try {
    await connection.withDeadline(Date.now() + probeMs, () => connection.workflowService.getSystemInfo({}))
    return true
  } finally {
    await connection.close()
  }
}

/** Connects as a client with the certificate of this machine. */
export const clusterConnection = (
  address: string,
  { serverName, ca, certificate, key }: ClusterSettings,
) => ({
  address,
  tls: {
    serverNameOverride: serverName,
    serverRootCACertificate: readFileSync(ca),
    clientCertPair: { crt: readFileSync(certificate), key: readFileSync(key) },
  },
})

/** Whether the process listens. The service `worker` has only the membership port. */
const listens = ({ service, address, port }: ClusterProcess): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(service === 'worker' ? port + 1 : port, address)
    const end = (is: boolean) => {
      socket.destroy()
      resolve(is)
    }
    socket.once('connect', () => end(true)).once('error', () => end(false))
  })
