/**
 * Servers beside those of the run: both for the scripts that show in minutes what the suite shows in a sample, and the data of a Postgres
 * that a test starts itself, because it kills, freezes or fills it.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { startPostgres } from '../../../cli/embedded/postgres.ts'
import { freePort, startEmbedded } from '../../../cli/embedded/process.ts'
import { embeddedDataDir } from '../../../cli/embedded/state-dir.ts'
import { startTemporal } from '../../../cli/embedded/temporal.ts'
import { migrateAsOwner } from '../../../cli/supervisor/bootstrap.ts'
import { planCore } from '../../../cli/supervisor/process-plan.ts'
import { migrate } from '../../../store/database/migrate.ts'
import { searchAttributes } from '../../../temporal.config.ts'
import { runPrefix } from '../global-setup.ts'
import type { Servers } from './servers.ts'

/** Starts both, does the work, and leaves nothing behind. */
export async function withServers(work: (servers: Servers) => Promise<void>): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'tenure-servers-'))
  // Postgres runs as another user when this one is root.
  chmodSync(home, 0o711)
  const [postgres, temporal] = await Promise.all([
    startPostgres({ dataDir: join(home, 'postgres'), durable: false }),
    startTemporal({ uiPort: false, searchAttributes }),
  ])
  try {
    await migrate(postgres.url)
    await work({ databaseUrl: postgres.url, temporalAddress: temporal.address })
  } finally {
    await Promise.all([postgres.stop(), temporal.stop()])
    rmSync(home, { recursive: true, force: true })
  }
}

/**
 * Puts data with the schema of this build where a Postgres will start; nothing may be there yet. They are made once for a run of the tests
 * and copied, because `initdb` and the migrations take a second and a half. Outside such a run the server makes its own.
 */
export async function placePostgres(dataDir: string): Promise<void> {
  const home = dirname(tmpdir())
  if (!basename(home).startsWith(runPrefix)) return
  const made = join(home, 'own-postgres')
  if (!existsSync(made)) await makeData(home, made)
  // With their owner, who is another user when this one is root.
  execFileSync('cp', ['-a', made, dataDir])
}

/** Of several test processes that make the data at once, one wins. */
async function makeData(home: string, made: string): Promise<void> {
  const draft = mkdtempSync(join(home, 'own-postgres-'))
  chmodSync(draft, 0o711)
  const core = await planCore({
    stateDir: draft,
    temporalAddress: 'none',
    ports: { postgres: await freePort(), temporal: 0 },
  })
  const server = await startEmbedded(core.servers[0]!, 'postgres_unavailable')
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
