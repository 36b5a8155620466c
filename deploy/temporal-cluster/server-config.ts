/** Builds the server configuration of one process of a Temporal cluster. */
import type { ClusterSettings } from './settings.ts'

export const clusterServices = ['frontend', 'history', 'matching', 'worker'] as const
export type ClusterService = (typeof clusterServices)[number]

export interface ClusterProcess {
  service: ClusterService
  /** The address at which other machines reach this machine. */
  address: string
  /** The port of the service. The membership uses the next port. */
  port: number
}

/** The names are fixed; the role of the settings owns both databases. */
export const clusterDatabases = { temporal: 'temporal', visibility: 'temporal_visibility' } as const

export function serverConfigOf(
  { address, port }: Pick<ClusterProcess, 'address' | 'port'>,
  settings: ClusterSettings,
  dynamicConfigFile: string,
) {
  const { historyShards, serverName, ca, certificate, key } = settings
  const client = { serverName, rootCaFiles: [ca] }
  const server = { certFile: certificate, keyFile: key, requireClientAuth: true, clientCaFiles: [ca] }
  return {
    log: { stdout: true, level: 'warn' },
    persistence: {
      defaultStore: 'default',
      visibilityStore: 'visibility',
      numHistoryShards: historyShards,
      datastores: {
        default: { sql: storeOf(settings.database, clusterDatabases.temporal, 10) },
        visibility: { sql: storeOf(settings.database, clusterDatabases.visibility, 4) },
      },
    },
    global: {
      membership: { maxJoinDuration: '30s', broadcastAddress: address },
      tls: {
        // The server reads new certificates without a restart.
        refreshInterval: '30s',
        internode: { server, client },
        frontend: { server, client },
        systemWorker: { certFile: certificate, keyFile: key, client },
      },
    },
    // A process knows all listed services, and listens for the service it is started as.
    services: Object.fromEntries(
      clusterServices.map((each) => [
        each,
        { rpc: { grpcPort: port, membershipPort: port + 1, bindOnIP: address } },
      ]),
    ),
    clusterMetadata: {
      enableGlobalNamespace: false,
      failoverVersionIncrement: 10,
      masterClusterName: 'active',
      currentClusterName: 'active',
      clusterInformation: {
        active: {
          enabled: true,
          initialFailoverVersion: 1,
          rpcName: 'frontend',
          rpcAddress: '127.0.0.1:7233',
        },
      },
    },
    dynamicConfigClient: { filepath: dynamicConfigFile, pollInterval: '60s' },
  }
}

/** With a larger event buffer, the server does not discard a workflow task that receives more than 100 signals. */
export const dynamicConfig = { 'history.maximumBufferedEventsBatch': [{ value: 5_000 }] }

/** Each process opens few connections, because Postgres limits their total. */
const storeOf = (database: string, databaseName: string, maxConns: number) => {
  const url = new URL(database)
  const mode = url.searchParams.get('sslmode')
  return {
    pluginName: 'postgres12',
    databaseName,
    connectAddr: `${url.hostname}:${url.port || 5432}`,
    connectProtocol: 'tcp',
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    maxConns,
    maxIdleConns: maxConns,
    maxConnLifetime: '1h',
    ...(mode !== null &&
      mode !== 'disable' && {
        tls: {
          enabled: true,
          caFile: url.searchParams.get('sslrootcert') ?? '',
          enableHostVerification: mode === 'verify-full',
          serverName: url.hostname,
        },
      }),
  }
}
