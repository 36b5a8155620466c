/** Opens the database for work whose statements read many rows, and may therefore take longer than others. */
import { openStore, type Store, type StoreOptions } from '../../store/postgres.ts'
import type { Deps } from '../deps.ts'

/** The longest wait for one of the connections, which other work may hold for a long statement. */
const connectMs = 60_000

interface SharedStore {
  slow: Store
  users: number
}

/** By the store of the process, and by name. */
const shared = new WeakMap<Store, Map<string, SharedStore>>()

/**
 * Passes a store that signs audit rows as `store` does, and knows the leases that it has observed. All work of a name shares its `max`
 * connections: many windows end at the same moment, and one pool for each would leave the replicas no connection. The last work closes it.
 */
export async function withSlowStore<T>(
  { store, config }: Pick<Deps, 'store' | 'config'>,
  { name, ...options }: Required<Pick<StoreOptions, 'name' | 'max' | 'queryMs'>>,
  work: (slow: Store) => Promise<T>,
): Promise<T> {
  const byName = shared.get(store) ?? new Map<string, SharedStore>()
  shared.set(store, byName)
  const { signAudit, readerUrl, metricSources, leases } = store
  const opened = byName.get(name) ?? {
    slow: {
      ...openStore(config.databaseUrl, { name, ...options, connectMs, signAudit, readerUrl, metricSources }),
      leases,
    },
    users: 0,
  }
  byName.set(name, opened)
  opened.users++
  try {
    return await work(opened.slow)
  } finally {
    opened.users--
    if (opened.users === 0) {
      byName.delete(name)
      await opened.slow.close()
    }
  }
}
