/** Starts an embedded Postgres with the schema for a measurement, in a private directory. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres } from '@tenure/embedded'
import { migrate } from '../../../store/database/migrate.ts'
import { openStore, type StoreOptions } from '../../../store/postgres.ts'
import type { ArtifactSpec } from '../serving/artifact.ts'
import { nextRoute, registerFixtureVersion } from '../serving/registration.ts'
import { keyPlacesOf } from '../serving/sign-versions.ts'

export type BenchDatabase = Awaited<ReturnType<typeof openDatabase>>

/** `stop` deletes `root` and everything in it. `restart` brings a killed Postgres back on its port. */
export async function openDatabase({ durable, ...options }: StoreOptions & { durable?: boolean } = {}) {
  const root = mkdtempSync(join(tmpdir(), 'tenure-bench-'))
  // For root, Postgres runs as another user.
  chmodSync(root, 0o711)
  const place = { dataDir: join(root, 'postgres'), durable }
  let postgres = await startPostgres(place)
  const { url, port } = postgres
  await migrate(url)
  const store = openStore(url, { name: 'bench', ...options })
  return {
    root,
    url,
    store,
    pid: () => postgres.pid,
    restart: async () => void (postgres = await startPostgres({ ...place, port })),
    async stop() {
      await store.close()
      await postgres.stop()
      rmSync(root, { recursive: true, force: true })
    },
  }
}

/** Registers a version of each network and routes all its traffic to it; returns the environment of an API process. */
export async function prepareServing(
  { root, url, store }: BenchDatabase,
  specs: readonly ArtifactSpec[],
): Promise<Record<string, string>> {
  const artifacts = join(root, 'artifacts')
  for (const spec of specs)
    await nextRoute(store, spec.model, { proven: await registerFixtureVersion(store, artifacts, spec) })
  return {
    DATABASE_URL: url,
    TENURE_STATE: join(root, 'state'),
    TENURE_ARTIFACTS: artifacts,
    TENURE_KEYS: keyPlacesOf(artifacts).keys,
    TENURE_PUBLIC_PREDICTIONS: 'on',
  }
}

/** Counts the rows of the prediction log in Postgres. */
export async function countLogRows({ store }: Pick<BenchDatabase, 'store'>): Promise<number> {
  const { rows } = await store.pool.query<{ count: number }>('select count(*) from predictions')
  return rows[0]!.count
}
