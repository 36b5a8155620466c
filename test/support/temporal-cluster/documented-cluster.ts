/**
 * Runs docs/how-to/machines/temporal-cluster.md on this machine: its certificates, its settings and its commands, with an address and ports of the
 * test in place of those of the page.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { spawnProcess, type RunningProcess } from '../../../cli/embedded/process.ts'
import { clusterPrograms } from '../../../scripts/setup/temporal-cluster.mjs'
import { cacheDir, checkout, environmentWith } from '../../../temporal.config.ts'
import { blocksOf } from '../docs/markdown.ts'
import { waitUntil } from '../serving/api-process.ts'
import { familyOf } from '../servers/freeze.ts'

export interface TemporalCluster {
  /** The settings of clients, but for the address: `TEMPORAL_TLS_…` of the page. */
  environment: Record<string, string>
  frontendPorts: number[]
  /** Process id of `history-1` and so on; undefined during a restart. */
  pidOf(name: string): number | undefined
  lines: string[]
  stop(): Promise<void>
}

/** Why no cluster can be started without minutes of building; undefined when it can. */
export const whyNoCluster = (): string | undefined =>
  existsSync(clusterPrograms({ cache: cacheDir(), arch: process.arch }).server)
    ? undefined
    : '`npm run temporal-cluster -- build` has not built it on this machine'

const page = readFileSync(join(checkout, 'docs', 'how-to', 'machines', 'temporal-cluster.md'), 'utf8')
/** Eight processes take two each. */
const portsOfCluster = 16

/** `databaseAddress` is that of Postgres with a role that may create databases, without a database. */
export async function startDocumentedCluster(
  directory: string,
  databaseAddress: string,
): Promise<TemporalCluster> {
  mkdirSync(directory, { recursive: true })
  const port = await freeRange(portsOfCluster)
  const blockWith = (text: string): string => {
    const block = blocksOf(page).find((each) => each.text.includes(text))
    if (block === undefined) throw new Error(`the page has no block with ${text}`)
    return block.text
      .replaceAll(
        'npm run temporal-cluster --',
        `'${process.execPath}' --import tsx scripts/temporal-cluster/cluster.ts`,
      )
      .replaceAll('cluster.json', `'${join(directory, 'cluster.json')}'`)
      .replaceAll(/\b10\.0\.0\.5\b/g, '127.0.0.1')
      .replaceAll(/\b7233\b/g, String(port))
      .replaceAll('postgres://temporal:secret@10.0.0.4:5432', databaseAddress)
  }
  const lines: string[] = []
  const sh = (text: string, cwd = checkout) =>
    promisify(execFile)('bash', ['-e', '-c', text], { cwd, env: environmentWith({}) })
  await sh(blockWith('openssl'), directory)
  writeFileSync(join(directory, 'cluster.json'), blockWith('"historyShards"'), { mode: 0o600 })
  await sh(blockWith('-- schema'))
  const running: RunningProcess = await spawnProcess(
    {
      name: 'cluster',
      command: 'bash',
      args: ['-c', `exec ${blockWith('-- start')} --state '${join(directory, 'state')}'`],
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
    await sh(blockWith('-- namespace'))
    return {
      environment: await settingsOf(blockWith('TEMPORAL_TLS_SERVER_NAME'), directory),
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

/** What the `export` lines of a block set. */
async function settingsOf(block: string, directory: string): Promise<Record<string, string>> {
  const lines = block.split('\n').filter((line) => line.startsWith('export '))
  const printed = await promisify(execFile)('bash', ['-c', `${lines.join('\n')}\nenv -0`], {
    cwd: directory,
    env: {},
  })
  const pairs = printed.stdout.split('\0').map((line) => line.split(/=(.*)/s) as [string, string])
  return Object.fromEntries(pairs.filter(([name]) => name.startsWith('TEMPORAL_TLS_')))
}

/** The `--env` of a process of the server. */
function environmentOf(pid: number): string | undefined {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    const place = words.indexOf('--env')
    return place < 0 || !words[0]!.endsWith('/server') ? undefined : words[place + 1]
  } catch {
    return undefined
  }
}

/** The first of some ports that are all free; below those that the system gives to clients. */
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
