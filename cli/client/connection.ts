/**
 * Stores the addresses and the local key of the running system in the state directory, for other commands on this machine. Only the owner
 * can read the file, because it holds a key.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseJson } from '../../domain/parse-json.ts'
import { createApiFetch } from '../../store/tls/api-fetch.ts'
import type { TrustSettings } from '../../store/tls/settings.ts'
import { readCommandConfig, type CommandConfig } from '../../temporal.config.ts'
import { createClient, failure, type Client } from './client.ts'
import { readText } from '../read-text.ts'
import { stateDirsOf } from '../state-dir.ts'

export interface Connection {
  /** Process id of `tenure up`. */
  pid: number
  url: string
  key?: string
  /** Path of the certificate that the API serves on this machine. */
  certificate?: string
  databaseUrl: string
  temporalAddress: string
  /** The own ports of several replicas, which the next `tenure up` takes again after this one was killed. */
  replicaPorts?: number[]
}

const fileOf = (stateDir: string) => join(stateDir, 'connection.json')

export function writeConnection(stateDir: string, connection: Connection): void {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const partial = `${fileOf(stateDir)}.${process.pid}`
  writeFileSync(partial, `${JSON.stringify(connection, null, 2)}\n`, { mode: 0o600 })
  renameSync(partial, fileOf(stateDir))
}

/** Replaces the stored key of this machine if it is the key with this id. Returns whether it was. */
export function replaceStoredKey(id: string, key: string): boolean {
  const stateDir = findStateDir(readCommandConfig())
  const found = findConnection(stateDir)
  if (found?.key?.startsWith(`tnr_${id}_`) !== true) return false
  writeConnection(stateDir, { ...found, key })
  return true
}

/** Returns the connection that `tenure up` wrote last, whether it still runs or not. */
export function findConnection(stateDir: string): Connection | undefined {
  return parseJson(readText(fileOf(stateDir)) ?? '')
}

/** Returns the state directory in which `tenure up` has run, otherwise the one in which it would. Creates nothing. */
export function findStateDir(config: Pick<CommandConfig, 'stateDir'>): string {
  const places = stateDirsOf(config.stateDir)
  return places.find((place) => findConnection(place) !== undefined) ?? places[0]
}

/** Connects to TENURE_URL with TENURE_KEY, or to the local system. */
export function connectToApi(options: { url?: string } = {}): Client {
  const config = readCommandConfig()
  const stateDir = findStateDir(config)
  const found = findConnection(stateDir)
  const url = options.url ?? config.url ?? found?.url
  if (url === undefined) throw notRunning(stateDir, 'TENURE_URL and TENURE_KEY')
  // The stored key is sent to the stored address only.
  const key = config.key ?? (url === found?.url ? found.key : undefined)
  return createClient({ url, key, call: createApiFetch(trustAt(url, config, found)) })
}

/** Returns the certificates that this machine trusts at an address. The certificate of `tenure up` is trusted only at its own address. */
export function trustAt(
  url: string,
  config: Pick<CommandConfig, 'trust'>,
  found?: Connection,
): TrustSettings {
  const own = url === found?.url ? found.certificate : undefined
  return { ...config.trust, own: config.trust.own ?? own }
}

/** Returns the option with which the `temporal` command reaches the Temporal of this installation; empty when it is not known here. */
export function temporalAddressOption(): string {
  const config = readCommandConfig()
  const address = config.temporalAddress ?? findConnection(findStateDir(config))?.temporalAddress
  return address === undefined ? '' : ` --address ${address}`
}

/** Returns the addresses of Postgres and Temporal, for commands that bypass the API. */
export function coreAddresses(config: CommandConfig): { databaseUrl: string; temporalAddress: string } {
  const stateDir = findStateDir(config)
  const found = findConnection(stateDir)
  const databaseUrl = config.databaseUrl ?? found?.databaseUrl
  const temporalAddress = config.temporalAddress ?? found?.temporalAddress
  if (databaseUrl === undefined || temporalAddress === undefined)
    throw notRunning(stateDir, 'DATABASE_URL and TEMPORAL_ADDRESS')
  return { databaseUrl, temporalAddress }
}

const notRunning = (stateDir: string, variables: string) =>
  failure({
    code: 'unreachable',
    detail: `Tenure is not running here (state in ${stateDir})`,
    remedy: `Start it with \`tenure up\`, or set ${variables}.`,
  })
