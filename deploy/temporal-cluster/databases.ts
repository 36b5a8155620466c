/** Creates the databases of a Temporal cluster and migrates them to the schema of its server. Changes nothing if they are current. */
import pg from 'pg'
import { run } from '@tenure/embedded/install/run'
import { systemEnvironment } from '../../temporal.config.ts'
import { clusterDatabases } from './server-config.ts'
import type { ClusterSettings } from './settings.ts'

export async function migrateClusterDatabases({ database }: ClusterSettings, sqlTool: string): Promise<void> {
  for (const [part, name] of Object.entries(clusterDatabases)) {
    await withClient(database, 'postgres', async (client) => {
      const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
      if (rowCount === 0) await client.query(`create database ${name}`)
    })
    const isNew = await withClient(database, name, async (client) => {
      const { rows } = await client.query(`select to_regclass('schema_version') is null as absent`)
      return rows[0].absent === true
    })
    const tool = (...args: string[]) => run(sqlTool, args, { env: toolEnvironment(database, name) })
    if (isNew) await tool('setup-schema', '--version', '0.0')
    await tool('update-schema', '--schema-name', `postgresql/v12/${part}`)
  }
}

async function withClient<T>(
  url: string,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const of = new URL(url)
  of.pathname = `/${database}`
  const client = new pg.Client({
    connectionString: of.toString(),
    connectionTimeoutMillis: 10_000,
    query_timeout: 60_000,
  })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Passes the credentials in environment variables, because other users of the machine can see arguments. */
function toolEnvironment(url: string, database: string): NodeJS.ProcessEnv {
  const { hostname, port, username, password, searchParams } = new URL(url)
  const mode = searchParams.get('sslmode')
  return {
    ...systemEnvironment(),
    SQL_PLUGIN: 'postgres12',
    SQL_HOST: hostname,
    SQL_PORT: port || '5432',
    SQL_USER: decodeURIComponent(username),
    SQL_PASSWORD: decodeURIComponent(password),
    SQL_DATABASE: database,
    ...(mode !== null &&
      mode !== 'disable' && {
        SQL_TLS: 'true',
        SQL_TLS_CA_FILE: searchParams.get('sslrootcert') ?? '',
        SQL_TLS_DISABLE_HOST_VERIFICATION: String(mode !== 'verify-full'),
      }),
  }
}
