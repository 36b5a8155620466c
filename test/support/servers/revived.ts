import { startPostgres, type RunningPostgres } from '@tenure/embedded'
import type { Store } from '../../../store/postgres.ts'
import { isProcess } from '../../../store/process-identity.ts'
import { waitUntil } from '../serving/api-process.ts'

/** Waits until Postgres answers, and starts it again where it has stopped, as it does when it cannot write its own log. */
export async function revived(
  postgres: RunningPostgres,
  dataDir: string,
  store: Store,
): Promise<RunningPostgres> {
  let running = postgres
  await waitUntil(async () => {
    if (!isProcess(running.pid)) running = await startPostgres({ dataDir, port: running.port })
    return store.pool.query('select 1').then(
      () => true,
      () => false,
    )
  }, 'Postgres')
  return running
}
