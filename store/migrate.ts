/**
 * Brings a database to the schema of this build. Every process may call it at its start: one of them does the
 * work under an advisory lock and the others wait, so that no process ever meets half a schema.
 */
import { runner } from 'node-pg-migrate'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const migrationsDir = fileURLToPath(new URL('../migrations', import.meta.url))

/** How long a process waits for another one that migrates. */
const lockWaitMs = 120_000

/** Runs what has not run yet, all in one transaction. Answers the names of the migrations it ran itself. */
export async function migrate(url: string, directory = migrationsDir): Promise<string[]> {
  const silent = () => {}
  const ran = await runner({
    databaseUrl: {
      connectionString: url,
      connectionTimeoutMillis: 10_000,
      lock_timeout: lockWaitMs,
      application_name: 'tenure-migrate',
    },
    dir: join(directory, '*.sql'),
    useGlob: true,
    migrationsTable: 'migrations',
    migrationLoaderStrategies: [{ extensions: ['.sql'], loader: 'sql' }],
    advisoryLockMode: 'wait',
    direction: 'up',
    singleTransaction: true,
    checkOrder: true,
    logger: { info: silent, warn: silent, error: silent },
  })
  return ran.map((migration) => migration.name)
}
