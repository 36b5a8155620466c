/**
 * Starts servers outside the shared ones: Postgres and Temporal for scripts that run longer versions of the tests, and the data of a
 * Postgres that a test starts itself in order to kill, freeze or fill it.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { freePort, startPostgres, startServer, startTemporal } from '@tenure/embedded'
import { embeddedDataDir } from '../../../cli/state-dir.ts'
import { migrateAsOwner } from '../../../cli/supervisor/bootstrap.ts'
import { planCore } from '../../../cli/supervisor/process-plan.ts'
import { migrate } from '../../../store/database/migrate.ts'
import { searchAttributes } from '../../../temporal.config.ts'
import { runPrefix } from '../global-setup.ts'
import type { Servers } from './servers.ts'

/** Starts both servers, runs `work`, and removes the servers and their data. */
export async function withServers(work: (servers: Servers) => Promise<void>): Promise<void> {
  const [postgres, temporal] = await Promise.all([
    startPostgres(),
    startTemporal({ uiPort: false, searchAttributes }),
  ])
  try {
    await migrate(postgres.url)
    await work({ databaseUrl: postgres.url, temporalAddress: temporal.address })
  } finally {
    await Promise.all([postgres.stop(), temporal.stop()])
  }
}

/**
 * Creates data with the schema of this build in an empty directory for Postgres. Data is made once per test run and copied, because
 * `initdb` and the migrations take 1.5 s. Outside a test run, the server makes its own data.
 */
export async function placePostgres(dataDir: string): Promise<void> {
  const home = dirname(tmpdir())
  if (!basename(home).startsWith(runPrefix)) return
  const made = join(home, 'own-postgres')
  if (!existsSync(made)) await makeData(home, made)
  // Copies the owner too, which is another user when the current user is root.
  execFileSync('cp', ['-a', made, dataDir])
}

/** Makes the data. When several test processes do so at once, one wins. */
async function makeData(home: string, made: string): Promise<void> {
  const draft = mkdtempSync(join(home, 'own-postgres-'))
  chmodSync(draft, 0o711)
  const core = await planCore({
    stateDir: draft,
    temporalAddress: 'none',
    ports: { postgres: await freePort(), temporal: 0 },
  })
  const server = await startServer(core.servers[0]!)
  try {
    await migrateAsOwner(core.databaseUrl, core)
  } finally {
    await server.stop()
  }
  try {
    renameSync(embeddedDataDir(draft), made)
  } catch (error) {
    if (!existsSync(made)) throw error
  }
  rmSync(draft, { recursive: true, force: true })
}
