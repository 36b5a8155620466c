/** Checks the machine: Node, disk, memory, locale and the default ports. */
import { execFile } from 'node:child_process'
import { constants, existsSync, statfsSync, accessSync, readdirSync, readlinkSync } from 'node:fs'
import { totalmem } from 'node:os'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { requireFreePort } from '@tenure/embedded'
import { readText } from '../read-text.ts'
import type { WantedPort } from '../supervisor/ports.ts'
import { broken, ok, skipped, warning, type Finding } from './finding.ts'

const run = promisify(execFile)
const megabyte = 1_000_000
const replicaCommand = 'api/start.mjs'

export function checkNode(version = process.versions.node): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19))
    return broken('node', `Node ${version} is too old`, 'Install Node 20.19 or newer.')
  if (major < 24)
    return warning(
      'node',
      `Node ${version} loads no model files`,
      'Run npm run setup: it brings Node 24, and every process runs on it.',
    )
  if (major > 24) return warning('node', `Node ${version} is untested`, 'Use Node 24 if problems occur.')
  return ok('node', `Node ${version}`)
}

/** Below `min` the start fails; below `low` a busy day fills the disk. */
const diskMb = { min: 300, low: 2_000 }

export function checkDisk(what: string, directory: string): Finding {
  const { bavail, bsize } = statfsSync(nearest(directory))
  const free = (bavail * bsize) / megabyte
  const found = `${amount(free)} free for ${what} (${directory})`
  if (free < diskMb.min)
    return broken('disk', found, 'Free disk space, or set TENURE_STATE and TENURE_ARTIFACTS to another disk.')
  if (free < diskMb.low)
    return warning(
      'disk',
      found,
      'Free disk space soon, or lower TENURE_KEEP_PREDICTIONS_DAYS. Postgres stops on a full disk.',
    )
  return ok('disk', found)
}

function nearest(directory: string): string {
  return existsSync(directory) ? directory : nearest(dirname(directory))
}

const memoryMb = { min: 400, low: 1_000 }

export function checkMemory(text = readText('/proc/meminfo') ?? ''): Finding {
  const [, kilobytes] = /^MemAvailable:\s+(\d+) kB/m.exec(text) ?? []
  if (kilobytes === undefined) return skipped('memory', 'this system does not report free memory')
  const free = (Number(kilobytes) * 1_024) / megabyte
  const found = `${amount(free)} of ${amount(totalmem() / megabyte)} available`
  if (free < memoryMb.min)
    return broken('memory', found, 'Stop other processes: a training takes about 400 MB.')
  if (free < memoryMb.low)
    return warning('memory', found, 'Stop other processes: a training with two replicas takes about 1 GB.')
  return ok('memory', found)
}

/** Checks what keeps the code of Python models from the rights of the replica. */
export async function checkJail(): Promise<Finding> {
  const check = 'python models'
  const { stdout } = await run('/usr/bin/env', ['python3', '-c', 'import sys; print(sys.executable)'])
  const { requireJail } = await import('../../api/serving/runtime/python-process.ts')
  try {
    requireJail(stdout.trim())
  } catch (error) {
    return warning(
      check,
      (error as Error).message,
      'Start Tenure where these are allowed. Without them, models that are code of Python are refused.',
    )
  }
  return ok(check, 'their code gets no network, no files and no rights of the replica here')
}

/** Checks shared memory: Postgres and the served-request counters of replicas use it. */
export function checkSharedMemory(): Finding {
  const directory = '/dev/shm'
  try {
    accessSync(directory, constants.W_OK)
    const { bavail, bsize } = statfsSync(directory)
    const free = (bavail * bsize) / megabyte
    const found = `${amount(free)} free in ${directory}`
    return free < 32
      ? warning(
          'shared memory',
          found,
          'Enlarge it (in a container: --shm-size=256m), or parallel queries fail.',
        )
      : ok('shared memory', found)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return warning(
      'shared memory',
      `${directory} is not writable (${code})`,
      'Mount it, so that a killed replica keeps its served counters.',
    )
  }
}

export async function checkLocale(): Promise<Finding> {
  const listed = await run('locale', ['-a'], { timeout: 5_000 }).catch(() => undefined)
  if (listed === undefined) return skipped('locale', 'the command `locale` is missing')
  const names = listed.stdout.split('\n')
  if (names.some((name) => /^C\.utf-?8$/i.test(name)))
    return ok('locale', 'C.UTF-8, the locale of the embedded Postgres')
  return broken('locale', 'C.UTF-8 is missing', 'Install the locales: `apt-get install -y locales`.')
}

/** Checks a default port while `tenure up` is stopped. A replica that was started by itself may hold it. */
export async function checkPort({ what, port, variable }: WantedPort): Promise<Finding> {
  if (port === 0) return ok('ports', `${what} uses any free port (${variable}=0)`)
  try {
    await requireFreePort(port, what)
    return ok('ports', `${port} is free for ${what}`)
  } catch {
    const holder = holderOf(port)
    const name =
      holder === undefined ? 'a process of another user' : `process ${holder.pid} (${holder.command})`
    if (holder?.command.includes(replicaCommand) === true)
      return ok('ports', `a replica listens on ${port}: ${name}`)
    return warning(
      'ports',
      `port ${port} of ${what} is in use by ${name}`,
      `Stop that process, or set ${variable}; otherwise \`tenure up\` uses another port.`,
    )
  }
}

const amount = (mb: number): string =>
  mb >= 1_000 ? `${(mb / 1_000).toFixed(1)} GB` : `${Math.round(mb)} MB`

// Finds the process that listens on a port, by the socket inodes in /proc.

const listening = '0A'

export interface PortHolder {
  pid: number
  /** Its command line, as far as a message shows it. */
  command: string
}

/** Returns undefined for a process of another user. */
function holderOf(port: number): PortHolder | undefined {
  const sockets = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((path) => socketsIn(path, port)))
  if (sockets.size === 0) return undefined
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    if (filesOf(pid).some((file) => sockets.has(file))) return { pid: Number(pid), command: commandOf(pid) }
  return undefined
}

const commandOf = (pid: string): string =>
  (readText(`/proc/${pid}/cmdline`) ?? '').split('\0').join(' ').trim().slice(0, 200)

function socketsIn(path: string, port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  const lines = readText(path)?.split('\n').slice(1) ?? []
  return lines.flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/)
    return local.endsWith(`:${wanted}`) && state === listening ? [`socket:[${inode}]`] : []
  })
}

function filesOf(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)]
      } catch {
        return []
      }
    })
  } catch {
    return []
  }
}
