/** Starts Tenure as `tenure up` does, with one replica and the model files of one directory. */
import { Client, Connection } from '@temporalio/client'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectionOf } from '../../cli/client/temporal-connection.ts'
import { planCore, planProcesses } from '../../cli/supervisor/process-plan.ts'
import { createClient, type Client as ApiClient } from '../../cli/client/client.ts'
import { freePort } from '../../cli/embedded/process.ts'
import { ensureKey, migrateAsOwner } from '../../cli/supervisor/bootstrap.ts'
import { ensureSearchAttributes } from '../../cli/sync/search-attributes.ts'
import { supervise, type Supervision } from '../../cli/supervisor/supervisor.ts'
import { syncModels, withTemporal } from '../../cli/sync/sync-models.ts'
import { openStore, type Store } from '../../store/postgres.ts'
import { launcher, environmentWith, readConfig, type Config } from '../../temporal.config.ts'

export interface HalfYearSystem {
  config: Config
  store: Store
  temporal: Client
  supervision: Supervision
  url: string
  /** Clients with the roles operator and approver. */
  operator: ApiClient
  approver: ApiClient
  /** Process names in the supervisor. */
  processes: string[]
  /** Log lines of level warn or above. */
  complaints: string[]
  stop(): Promise<void>
}

export async function startHalfYearSystem(models: string): Promise<HalfYearSystem> {
  const stateDir = mkdtempSync(join(tmpdir(), 'tenure-bench-'))
  // For root, Postgres runs as another user.
  chmodSync(stateDir, 0o711)
  const [postgres, temporal, temporalUi, api] = (await Promise.all(Array.from({ length: 4 }, freePort))) as [
    number,
    number,
    number,
    number,
  ]
  const core = await planCore({ stateDir, ports: { postgres, temporal, temporalUi } })
  const environment = {
    DATABASE_URL: core.databaseUrl,
    TEMPORAL_ADDRESS: core.temporalAddress,
    TENURE_STATE: stateDir,
    TENURE_PUBLIC_PREDICTIONS: 'on',
  }
  const config = readConfig(environmentWith(environment))
  const prepare = async () => {
    await migrateAsOwner(core.databaseUrl, core)
    await withTemporal(config, (_, connection) =>
      ensureSearchAttributes(connection, config.temporal.namespace),
    )
    const store = openStore(core.databaseUrl, { name: 'prepare', max: 1 })
    const { broken } = await syncModels({ config, store, directory: models })
    await store.close()
    if (broken.length > 0) throw new Error(JSON.stringify(broken))
  }
  const processes = planProcesses({
    config,
    servers: core.servers,
    environment,
    apiPorts: [api],
    prepare,
  }).map((spec) =>
    spec.name === 'train'
      ? {
          ...spec,
          args: [launcher, 'test/support/training/train-worker.ts', models],
        }
      : spec,
  )
  const complaints: string[] = []
  const specs = [...core.servers, ...processes]
  const supervision = await supervise(specs, {
    stateDir,
    signals: false,
    log: (name, line) => {
      const level = Number(/^\{"level":(\d+)/.exec(line)?.[1] ?? 0)
      if (level >= 40 || (name === 'tenure' && /restart|died|ended/.test(line)))
        complaints.push(`${name} ${line}`)
    },
  })
  const store = openStore(core.databaseUrl, {
    name: 'bench',
    max: 3,
    connectMs: 30_000,
    queryMs: 60_000,
    onError: () => {},
  })
  const connection = await Connection.connect(connectionOf(config.temporal))
  const url = `http://127.0.0.1:${api}`
  return {
    config,
    store,
    temporal: new Client({ connection, namespace: config.temporal.namespace }),
    supervision,
    url,
    operator: createClient({ url, key: await ensureKey(store, { name: 'bench', role: 'operator' }) }),
    approver: createClient({
      url,
      key: await ensureKey(store, { name: 'half-year-approver', role: 'approver' }),
    }),
    processes: specs.map(({ name }) => name),
    complaints,
    async stop() {
      await connection.close()
      await store.close()
      await supervision.stop()
      rmSync(stateDir, { recursive: true, force: true })
    },
  }
}
