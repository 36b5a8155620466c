/**
 * The installation that is backed up or put back: its database as the owner sees it, its artifacts, its key. The embedded
 * database need not run for it; it is started for the time of the work, and nobody else can start it meanwhile.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { environmentWith, readCommandConfig, readConfig, type Config } from '../../temporal.config.ts'
import { findConnection } from '../client/connection.ts'
import { embeddedOwnerUrl, startPostgres } from '../embedded/postgres.ts'
import { openStateDir } from '../embedded/state-dir.ts'
import { claim, isClaimed } from '../supervisor/pidfile.ts'
import { failure } from '../client/client.ts'

export interface Installation {
  /** Of the owner of the tables. */
  databaseUrl: string
  config: Config
  /** Whether processes of this machine work with the database meanwhile. */
  running: boolean
  close(): Promise<void>
}

/** Throws `usage` when there is no database of this machine and none may be made. */
export async function openInstallation({ make }: { make: boolean }): Promise<Installation> {
  const command = readCommandConfig()
  const stateDir = openStateDir(command.stateDir)
  const placeOn = (databaseUrl: string, rest: Pick<Installation, 'running' | 'close'>): Installation => ({
    databaseUrl,
    config: readConfig(environmentWith({ DATABASE_URL: databaseUrl, TENURE_STATE: stateDir })),
    ...rest,
  })
  const claimed = isClaimed(join(stateDir, 'supervisor.json'))
  const given = command.ownerDatabaseUrl ?? command.databaseUrl
  if (given !== undefined) return placeOn(given, { running: claimed, close: async () => {} })
  const dataDir = join(stateDir, 'postgres')
  if (claimed) {
    const running = findConnection(stateDir)
    if (running === undefined)
      throw failure({
        code: 'unreachable',
        detail: 'Tenure is being started here; its database cannot be used yet',
        remedy: 'Wait until `tenure status` answers.',
      })
    const port = Number(new URL(running.databaseUrl).port)
    return placeOn(embeddedOwnerUrl(dataDir, port) ?? running.databaseUrl, {
      running: true,
      close: async () => {},
    })
  }
  if (!make && !existsSync(join(dataDir, 'PG_VERSION')))
    throw failure({
      code: 'usage',
      detail: `there is no database in ${stateDir} to back up`,
      remedy: 'Set DATABASE_URL, or TENURE_STATE to the state of the installation that is meant.',
    })
  const held = await claim(join(stateDir, 'supervisor.json'))
  try {
    const server = await startPostgres({ dataDir })
    held.note([server.pid])
    return placeOn(server.url, {
      running: false,
      async close() {
        await server.stop()
        held.release()
      },
    })
  } catch (error) {
    held.release()
    throw error
  }
}
