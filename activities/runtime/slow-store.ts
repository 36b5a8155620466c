/** Opens the database for work whose statements read many rows, and may therefore take longer than others. */
import { openStore, type Store, type StoreOptions } from '../../store/postgres.ts'
import type { Deps } from '../deps.ts'

/** Passes a store that signs audit rows as `store` does, and knows the leases that it has observed; closed after the work. */
export async function withSlowStore<T>(
  { store, config }: Pick<Deps, 'store' | 'config'>,
  options: Required<Pick<StoreOptions, 'name' | 'max' | 'queryMs'>>,
  work: (slow: Store) => Promise<T>,
): Promise<T> {
  const { signAudit, readerUrl, leases } = store
  const slow = { ...openStore(config.databaseUrl, { ...options, signAudit, readerUrl }), leases }
  try {
    return await work(slow)
  } finally {
    await slow.close()
  }
}
