/**
 * Where the running system is: `tenure up` writes it to the state directory, so that the other commands on this
 * machine need neither address nor key. The file holds a key and is readable by its owner alone.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readCommandConfig, type CommandConfig } from '../../temporal.config.ts'
import { createClient, failure, type Client } from './client.ts'
import { openStateDir } from '../embedded/state-dir.ts'

export interface Connection {
  /** The process that runs `tenure up`. */
  pid: number
  url: string
  key?: string
  databaseUrl: string
  temporalAddress: string
  namespace: string
}

const fileOf = (stateDir: string) => join(stateDir, 'connection.json')

export function writeConnection(stateDir: string, connection: Connection): void {
  mkdirSync(stateDir, { recursive: true })
  const partial = `${fileOf(stateDir)}.${process.pid}`
  writeFileSync(partial, `${JSON.stringify(connection, null, 2)}\n`, { mode: 0o600 })
  renameSync(partial, fileOf(stateDir))
}

/** What `tenure up` has written last, whether or not it still runs. */
export function findConnection(stateDir: string): Connection | undefined {
  if (!existsSync(fileOf(stateDir))) return undefined
  try {
    return JSON.parse(readFileSync(fileOf(stateDir), 'utf8')) as Connection
  } catch {
    return undefined
  }
}

/** The API that a command speaks to: TENURE_URL and TENURE_KEY, else what runs from this checkout. */
export function connectToApi(options: { url?: string } = {}): Client {
  const config = readCommandConfig()
  const stateDir = openStateDir(config.stateDir)
  const found = findConnection(stateDir)
  const url = options.url ?? config.url ?? found?.url
  if (url === undefined)
    throw failure({
      code: 'unreachable',
      detail: `Tenure does not run here (its state is in ${stateDir})`,
      remedy: 'Start it with `tenure up`, or set TENURE_URL and TENURE_KEY to reach one elsewhere.',
    })
  // The stored key belongs to the stored address and is sent nowhere else.
  const key = config.key ?? (url === found?.url ? found.key : undefined)
  return createClient({ url, key })
}

/** Postgres and Temporal for the few commands that write without the API. */
export function coreAddresses(config: CommandConfig): { databaseUrl: string; temporalAddress: string } {
  const stateDir = openStateDir(config.stateDir)
  const found = findConnection(stateDir)
  const databaseUrl = config.databaseUrl ?? found?.databaseUrl
  const temporalAddress = config.temporalAddress ?? found?.temporalAddress
  if (databaseUrl === undefined || temporalAddress === undefined)
    throw failure({
      code: 'unreachable',
      detail: `Tenure does not run here (its state is in ${stateDir})`,
      remedy: 'Start it with `tenure up`, or set DATABASE_URL and TEMPORAL_ADDRESS.',
    })
  return { databaseUrl, temporalAddress }
}
