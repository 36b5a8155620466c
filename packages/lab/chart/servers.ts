/** Starts Postgres and Temporal for the pods, and makes the Secrets that the chart refers to. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { planPostgres, startServer, startTemporal } from '@tenure/embedded'
import { openStore } from '../../../store/postgres.ts'
import { searchAttributes } from '../../../temporal.config.ts'
import type { Kube } from '../../../test/support/deploy/cluster.ts'
import type { KubeObject } from '../../../test/support/deploy/kube-objects.ts'
import { chartFolder } from './helm.ts'

export interface ChartServers {
  /** Address for the owner. */
  ownerUrl: string
  /** Address for the role of the processes. */
  appUrl: string
  readerUrl: string
  temporal: string
  stop(): Promise<void>
}

/** An update starts processes before it ends others: docs/how-to/machines/kubernetes.md has the calculation. */
const connections = 200

/** Starts the servers, with the roles of deploy/postgres/roles.sql; the migration of the chart creates the schema. */
export async function startServers(home: string): Promise<ChartServers> {
  const settings = { max_connections: String(connections) }
  const plan = await planPostgres({ dataDir: join(home, 'postgres'), settings })
  const postgres = await startServer(plan)
  const urlAs = (username: string, password: string): string =>
    Object.assign(new URL(plan.url), { username, password }).toString()
  const [app, reader] = [randomBytes(12).toString('hex'), randomBytes(12).toString('hex')]
  const store = openStore(plan.url, { max: 1, onError: () => {} })
  await store.pool.query(`
    create role tenure_app login password '${app}';
    create role tenure_reader login password '${reader}';
    grant tenure_app to tenure with inherit true, set true;
    grant connect on database tenure to tenure_app, tenure_reader`)
  await store.close()
  const temporal = await startTemporal({ uiPort: false, searchAttributes })
  return {
    ownerUrl: plan.url,
    appUrl: urlAs('tenure_app', app),
    readerUrl: urlAs('tenure_reader', reader),
    temporal: temporal.address,
    stop: async () => void (await Promise.all([postgres.stop(), temporal.stop()])),
  }
}

/** Creates the Secrets of keys.sh, and those with the addresses. */
export async function createSecrets(kube: Kube, namespace: string, servers: ChartServers): Promise<void> {
  const printed = execFileSync(join(chartFolder, '..', 'keys.sh'), { encoding: 'utf8' })
  const keys = parseAllDocuments(printed).flatMap((each) => (each.toJSON() as KubeObject | null) ?? [])
  const own = (name: string, stringData: Record<string, string>) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name },
    stringData,
  })
  for (const secret of [
    ...keys,
    own('tenure', { DATABASE_URL: servers.appUrl, TENURE_READER_DATABASE_URL: servers.readerUrl }),
    own('tenure-owner', { TENURE_OWNER_DATABASE_URL: servers.ownerUrl }),
  ])
    await kube.call('POST', `/api/v1/namespaces/${namespace}/secrets`, secret)
}

/** Copies the version key next to the volume, for versions that the test registers. */
export async function copyVersionKey(kube: Kube, namespace: string, claim: string): Promise<void> {
  const files = {
    'artifacts/private.pem': ['tenure-key-artifacts', 'private.pem'],
    'public/artifacts/trusted.json': ['tenure-trust', 'artifacts.json'],
  } as const
  for (const [path, [secret, key]] of Object.entries(files)) {
    const { data } = await kube.call<KubeObject>('GET', `/api/v1/namespaces/${namespace}/secrets/${secret}`)
    const file = join(claim, 'keys', path)
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(file, Buffer.from(data![key]!, 'base64'), { mode: 0o600 })
  }
}
