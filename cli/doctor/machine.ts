/** The machine itself: Node, what the set-up has brought, room on disk and in memory, and who holds the usual ports. */
import { execFile } from 'node:child_process'
import { constants, existsSync, readFileSync, statfsSync, accessSync } from 'node:fs'
import { totalmem } from 'node:os'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { expectFree } from '../embedded/process.ts'
import { broken, ok, skipped, warning, type Finding } from './finding.ts'
import { holderOf } from './port-holder.ts'

const run = promisify(execFile)
const megabyte = 1_000_000

export function checkNode(version = process.versions.node): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19))
    return broken('node', `Node ${version} is too old`, 'Install Node 20.19 or newer; 22 is what most run.')
  if (major > 24)
    return warning('node', `Node ${version} was not tried`, 'Use Node 20, 22 or 24 when something is odd.')
  return ok('node', `Node ${version}`)
}

/** Below the first a start fails, below the second a busy day fills it. */
const diskMb = { least: 300, few: 2_000 }

export function checkDisk(what: string, directory: string): Finding {
  const place = nearest(directory)
  const { bavail, bsize } = statfsSync(place)
  const free = (bavail * bsize) / megabyte
  const found = `${amount(free)} free for ${what} (${directory})`
  if (free < diskMb.least)
    return broken(
      'disk',
      found,
      'Make room, or name another directory with TENURE_STATE and TENURE_ARTIFACTS.',
    )
  if (free < diskMb.few)
    return warning(
      'disk',
      found,
      'Make room soon: Postgres stops when it has none. TENURE_KEEP_PREDICTIONS_DAYS keeps less.',
    )
  return ok('disk', found)
}

function nearest(directory: string): string {
  return existsSync(directory) ? directory : nearest(dirname(directory))
}

const memoryMb = { least: 400, few: 1_000 }

export function checkMemory(text = readOr('/proc/meminfo')): Finding {
  const [, kilobytes] = /^MemAvailable:\s+(\d+) kB/m.exec(text) ?? []
  if (kilobytes === undefined) return skipped('memory', 'this system does not say how much is free')
  const free = (Number(kilobytes) * 1_024) / megabyte
  const found = `${amount(free)} of ${amount(totalmem() / megabyte)} available`
  if (free < memoryMb.least)
    return broken('memory', found, 'End what is not needed: a training takes about 400 MB.')
  if (free < memoryMb.few)
    return warning('memory', found, 'A training and two replicas at once take about 1 GB.')
  return ok('memory', found)
}

/** Postgres shares memory between its processes there, and replicas keep the account of what they served. */
export function checkSharedMemory(directory = '/dev/shm'): Finding {
  try {
    accessSync(directory, constants.W_OK)
    const { bavail, bsize } = statfsSync(directory)
    const free = (bavail * bsize) / megabyte
    const found = `${amount(free)} free in ${directory}`
    return free < 32
      ? warning(
          'shared memory',
          found,
          'Give it more (in a container: --shm-size=256m); parallel queries fail without.',
        )
      : ok('shared memory', found)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return warning(
      'shared memory',
      `${directory} cannot be written (${code})`,
      'Mount it: without it a killed replica may lose count of its last answers.',
    )
  }
}

export async function checkLocale(): Promise<Finding> {
  const listed = await run('locale', ['-a'], { timeout: 5_000 }).catch(() => undefined)
  if (listed === undefined) return skipped('locale', '`locale` is not here to be asked')
  const names = listed.stdout.split('\n')
  if (names.some((name) => /^C\.utf-?8$/i.test(name)))
    return ok('locale', 'C.UTF-8, which Postgres is made with')
  return broken(
    'locale',
    'there is no C.UTF-8',
    'Install the locales of your system: `apt-get install -y locales`.',
  )
}

export interface UsualPort {
  what: string
  port: number
  variable: string
}

/** For a system that is stopped: who would be in the way. */
export async function checkPort({ what, port, variable }: UsualPort): Promise<Finding> {
  if (port === 0) return ok('ports', `${what} takes any free one (${variable}=0)`)
  try {
    await expectFree(port, what)
    return ok('ports', `${port} is free for ${what}`)
  } catch {
    return warning(
      'ports',
      `${port}, where ${what} is wanted, is taken by ${holderOf(port) ?? 'a process that this user may not see'}`,
      `\`tenure up\` will take another port and say which; end that process to have ${port}, or set ${variable}.`,
    )
  }
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

const amount = (mb: number): string =>
  mb >= 1_000 ? `${(mb / 1_000).toFixed(1)} GB` : `${Math.round(mb)} MB`
