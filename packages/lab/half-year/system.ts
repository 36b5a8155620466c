/** Starts Tenure as `tenure up` does, with one replica and the model files of one directory. */
import { createClient } from '../../../cli/client/client.ts'
import { ensureKey } from '../../../cli/supervisor/bootstrap.ts'
import { syncModels } from '../../../cli/sync/sync-models.ts'
import { rowSigner } from '../../../store/audit/row-signatures.ts'
import { openStore } from '../../../store/postgres.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import { launcher, type Config } from '../../../temporal.config.ts'
import { startRealSystem } from '../../../test/support/servers/system-fixture.ts'

export type HalfYearSystem = Awaited<ReturnType<typeof startHalfYearSystem>>

export async function startHalfYearSystem(models: string) {
  const complaints: string[] = []
  const system = await startRealSystem({
    replicas: 1,
    leaseMs: 5_000,
    trains: true,
    prepare: (config) => sync(config, models),
    changes: async () => (spec) =>
      spec.name === 'train'
        ? { ...spec, args: [launcher, 'test/support/training/train-worker.ts', models] }
        : spec,
    onLine(name, line) {
      const level = Number(/^\{"level":(\d+)/.exec(line)?.[1] ?? 0)
      if (level >= 40 || (name === 'tenure' && /restart|died|ended/.test(line)))
        complaints.push(`${name} ${line}`)
    },
  })
  // Snapshots and the rows of half a year take longer than a query of a test.
  const { databaseUrl, signing } = system.config
  const signAudit = rowSigner(await openSigner(signing, 'artifacts'))
  const store = openStore(databaseUrl, {
    name: 'bench',
    max: 3,
    connectMs: 30_000,
    queryMs: 60_000,
    signAudit,
  })
  const url = system.urls[0]!
  return {
    ...system,
    store,
    url,
    /** Clients with the roles operator and approver. */
    operator: createClient({ url, key: await ensureKey(store, { name: 'bench', role: 'operator' }) }),
    approver: createClient({
      url,
      key: await ensureKey(store, { name: 'half-year-approver', role: 'approver' }),
    }),
    /** Log lines of level warn or above. */
    complaints,
    async stop() {
      await store.close()
      await system.stop()
    },
  }
}

async function sync(config: Config, directory: string): Promise<void> {
  const store = openStore(config.databaseUrl, { name: 'prepare', max: 1 })
  const { broken } = await syncModels({ config, store, directory })
  await store.close()
  if (broken.length > 0) throw new Error(JSON.stringify(broken))
}
