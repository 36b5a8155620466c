/**
 * Starts one real Postgres and one real Temporal for the whole test run. Starting them per file would cost more than the tests. Test files
 * get their own database and namespace from `servers.ts`.
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
} from 'node:fs'
import { freemem, tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import type { TestProject } from 'vitest/node'
import { removeUnclaimedCounts } from '../../api/serving/log/served-counter.ts'
import { startPostgres, startTemporal } from '@tenure/embedded'
import { checkout, searchAttributes } from '../../temporal.config.ts'

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string
    temporalAddress: string
  }
}

export const runPrefix = 'tenure-test-'
/** The default of TENURE_STATE. */
const installation = join(checkout, '.tenure')
const SHARED_MEMORY = '/dev/shm'
const MOUNTS = '/proc/self/mounts'
/** The value of `f_type` in statfs(2). */
const TMPFS = 0x01021994
/** Free memory that the run requires: several times what its databases and temporary files take at once. */
const ROOM = 6 * 2 ** 30
/** As long as a condition of a test is awaited, because a busy machine may take longer than the default of 30 s. */
const readyMs = 200_000

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const hasInstallation = existsSync(installation)
  removeEarlier()
  const home = mkdtempSync(join(placeOfData(), `${runPrefix}${process.pid}-`))
  chmodSync(home, 0o711)
  const temporary = join(home, 'tmp')
  mkdirSync(temporary)
  chmodSync(temporary, 0o1777)
  // Vitest starts the test processes afterwards; they inherit these variables.
  project.vitest.config.env['TMPDIR'] = temporary
  const [postgres, temporal] = await Promise.all([
    startPostgres({ dataDir: join(home, 'postgres'), durable: false, readyMs }),
    startTemporal({ uiPort: false, searchAttributes, readyMs }),
  ]).catch((error: unknown) => {
    // Vitest 4.1 crashes while it prints an error of this file and hides the error, so it is printed here.
    process.stderr.write(`${inspect(error)}\n`)
    throw error
  })
  project.provide('postgresUrl', postgres.url)
  project.provide('temporalAddress', temporal.address)
  return async () => {
    await Promise.all([postgres.stop(), temporal.stop()])
    if (!hasInstallation && existsSync(installation)) {
      process.stderr.write(
        `A test wrote to ${installation}, where \`npm start\` keeps its data: set its TENURE_STATE.\n`,
      )
      process.exitCode = 1
    }
    if (project.vitest.state.getCountOfFailedTests() === 0) rmSync(home, { recursive: true })
    else process.stderr.write(`The databases of the failed files are kept in ${home} until the next run.\n`)
    await removeUnclaimedCounts()
  }
}

/**
 * Chooses memory when there is room. Each test file copies a database of a thousand files, which takes a third of the CPU time in memory;
 * the Postgres of the fault tests would wait for its disk.
 */
function placeOfData(): string {
  if (!existsSync(SHARED_MEMORY)) return tmpdir()
  const { type, bsize, bavail } = statfsSync(SHARED_MEMORY)
  return type === TMPFS && Math.min(bsize * bavail, freemem()) > ROOM ? SHARED_MEMORY : tmpdir()
}

/** Removes the directories that earlier runs kept or could not remove, except the directory of a live run. */
function removeEarlier(): void {
  for (const place of [tmpdir(), SHARED_MEMORY].filter((each) => existsSync(each)))
    for (const name of readdirSync(place)) {
      const pid = new RegExp(`^${runPrefix}(\\d+)-`).exec(name)?.[1]
      if (pid === undefined || isAlive(Number(pid))) continue
      removeRun(join(place, name))
    }
}

/** Removes what an ended run has left. A run that was killed leaves its small disks mounted, and no directory with one can be removed. */
function removeRun(directory: string): void {
  try {
    const mounted = existsSync(MOUNTS) ? readFileSync(MOUNTS, 'utf8').split('\n') : []
    for (const path of mounted.map((line) => line.split(' ')[1] ?? ''))
      if (path.startsWith(`${directory}/`)) execFileSync('umount', [path], { stdio: 'pipe' })
    rmSync(directory, { recursive: true, force: true })
  } catch (error) {
    process.stderr.write(`${directory} of an earlier run cannot be removed: ${(error as Error).message}\n`)
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
