/** Real servers of their own for the scripts that show in minutes what the suite shows in a sample. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres } from '../../../cli/embedded/postgres.ts'
import { startTemporal } from '../../../cli/embedded/temporal.ts'
import { migrate } from '../../../store/database/migrate.ts'
import { searchAttributes } from '../../../temporal.config.ts'
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
