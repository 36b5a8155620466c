/**
 * Opens the installation to back up or restore. A stopped embedded database is started under the lock of its state directory,
 * so that no `tenure up` can start meanwhile.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { environmentWith, readCommandConfig, readConfig, type Config } from '../../temporal.config.ts'
import { findConnection } from '../client/connection.ts'
import { embeddedOwnerUrl, startPostgres } from '@tenure/embedded'
import { archivedLogOf, embeddedDataDir, openStateDir } from '../state-dir.ts'
import { claim, isClaimed } from '../supervisor/pidfile.ts'
import { failure, usageError } from '../client/client.ts'

export interface Installation {
  /** Connects as the owner of the tables. */
  databaseUrl: string
  config: Config
  /** Whether `tenure up` runs on this installation. */
  running: boolean
  close(): Promise<void>
}

/** Reads the settings of the installation, for work that does not need its database. */
export function readInstallationConfig(): Config {
  const { stateDir, databaseUrl } = readCommandConfig()
  return readConfig(
    environmentWith({
      DATABASE_URL: databaseUrl ?? 'postgres://127.0.0.1/none',
      TENURE_STATE: openStateDir(stateDir),
    }),
  )
}

/** Throws `usage` if there is no database and `make` is false. */
export async function openInstallation({ make }: { make: boolean }): Promise<Installation> {
  const command = readCommandConfig()
  const stateDir = openStateDir(command.stateDir)
  const installationOn = (databaseUrl: string, running: boolean, close = async () => {}): Installation => {
    const config = readConfig(environmentWith({ DATABASE_URL: databaseUrl, TENURE_STATE: stateDir }))
    return { databaseUrl, config, running, close }
  }
  const claimed = isClaimed(join(stateDir, 'supervisor.json'))
  const given = command.ownerDatabaseUrl ?? command.databaseUrl
  if (given !== undefined) return installationOn(given, claimed)
  const dataDir = embeddedDataDir(stateDir)
  if (claimed) {
    const running = findConnection(stateDir)
    if (running === undefined)
      throw failure({
        code: 'unreachable',
        detail: 'Tenure is starting here; its database is not ready',
        remedy: 'Wait until `tenure status` shows ready.',
      })
    const port = Number(new URL(running.databaseUrl).port)
    return installationOn(embeddedOwnerUrl(dataDir, port) ?? running.databaseUrl, true)
  }
  if (!make && !existsSync(join(dataDir, 'PG_VERSION')))
    throw usageError(
      `no database in ${stateDir}`,
      'Set DATABASE_URL, or set TENURE_STATE to the state directory of the installation.',
    )
  const held = await claim(join(stateDir, 'supervisor.json'))
  try {
    const server = await startPostgres({
      dataDir,
      // Archiving must continue: a gap in the log would end the span that can be restored.
      archiveTo: command.backups && archivedLogOf(stateDir),
    })
    held.note([{ pid: server.pid }])
    return installationOn(server.url, false, async () => {
      await server.stop()
      held.release()
    })
  } catch (error) {
    held.release()
    throw error
  }
}
