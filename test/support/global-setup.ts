/**
 * Starts one real Postgres and one real Temporal for the whole test run, because starting them per file would cost more than
 * the tests. Test files get their own database and namespace from `servers.ts`.
 */
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { startPostgres } from '../../cli/embedded/postgres.ts'
import { startTemporal } from '../../cli/embedded/temporal.ts'
import { searchAttributes } from '../../temporal.config.ts'

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string
    temporalAddress: string
  }
}

const PREFIX = 'tenure-test-'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  removeEarlier()
  const home = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`))
  chmodSync(home, 0o711)
  const [postgres, temporal] = await Promise.all([
    startPostgres({ dataDir: join(home, 'postgres'), durable: false }),
    startTemporal({ uiPort: false, searchAttributes }),
  ])
  project.provide('postgresUrl', postgres.url)
  project.provide('temporalAddress', temporal.address)
  return async () => {
    await Promise.all([postgres.stop(), temporal.stop()])
    if (project.vitest.state.getCountOfFailedTests() === 0) rmSync(home, { recursive: true })
    else process.stderr.write(`The databases of the failed files are kept in ${home} until the next run.\n`)
  }
}

/** Removes what an earlier run kept or could not remove, but not the directory of a run that is still alive. */
function removeEarlier(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]
    if (pid === undefined || isAlive(Number(pid))) continue
    rmSync(join(tmpdir(), name), { recursive: true, force: true })
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
