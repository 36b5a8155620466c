/**
 * Runs docs/how-to/machines/temporal-cluster.md on this machine: its certificates, settings and commands, with the test's address and ports
 * instead of the page's.
 */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type RunningProcess, spawnProcess } from '@tenure/embedded'
import { checkout, environmentWith } from '../../../temporal.config.ts'
import { waitUntil } from '../serving/api-process.ts'
import { familyOf } from '../servers/freeze.ts'
import { clientSettings, clusterPage } from './cluster-page.ts'

export interface TemporalCluster {
  /** Client settings except the address: the page's `TEMPORAL_TLS_…`. */
  environment: Record<string, string>
  frontendPorts: number[]
  /** Returns the process id of `history-1` and so on; undefined during a restart. */
  pidOf(name: string): number | undefined
  lines: string[]
  stop(): Promise<void>
}

/** Eight processes take two ports each. */
const portsOfCluster = 16

/** Starts the cluster; `databaseAddress` as in `ClusterPlaces`. */
export async function startDocumentedCluster(
  directory: string,
  databaseAddress: string,
): Promise<TemporalCluster> {
  const port = await freeRange(portsOfCluster)
  const page = clusterPage({ directory, address: '127.0.0.1', port, databaseAddress })
  const lines: string[] = []
  const sh = (text: string) =>
    promisify(execFile)('bash', ['-e', '-c', text], { cwd: checkout, env: environmentWith({}) })
  await page.prepare()
  await sh(page.block('-- schema'))
  const running: RunningProcess = await spawnProcess(
    {
      name: 'cluster',
      command: 'bash',
      args: ['-c', `exec ${page.block('-- start')} --state '${join(directory, 'state')}'`],
      cwd: checkout,
      env: environmentWith({}),
      graceMs: 30_000,
    },
    (line) => {
      lines.push(line)
      if (lines.length > 500) lines.shift()
    },
  )
  const stop = async () => void (await running.stop())
  try {
    let ended = false
    void running.exited.then(() => (ended = true))
    await waitUntil(async () => {
      if (ended) throw new Error('the cluster ended')
      return lines.some((line) => line.startsWith('started: '))
    }, 'the cluster')
    await sh(page.block('-- namespace'))
    return {
      environment: await clientSettings(directory),
      frontendPorts: [port, port + 2],
      pidOf: (name) => familyOf(running.pid).find((pid) => environmentOf(pid) === name),
      lines,
      stop,
    }
  } catch (error) {
    await stop()
    throw new Error(`${(error as Error).message}\n${lines.slice(-40).join('\n')}`, { cause: error })
  }
}

/** Returns the `--env` of a server process. */
function environmentOf(pid: number): string | undefined {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    const place = words.indexOf('--env')
    return place < 0 || !words[0]!.endsWith('/server') ? undefined : words[place + 1]
  } catch {
    return undefined
  }
}

/** Returns the first port of a free range, below the ports that the system assigns to clients. */
async function freeRange(count: number): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const first = 20_000 + Math.floor(Math.random() * 10_000)
    const free = await Promise.all(Array.from({ length: count }, (_, place) => isFree(first + place)))
    if (free.every(Boolean)) return first
  }
  throw new Error(`no ${count} free ports in a row`)
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
