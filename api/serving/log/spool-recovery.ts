/**
 * Stores the rows in the spool, including those of dead processes, and settles the accounts of dead processes. A settled account
 * satisfies served = stored + dropped.
 */
import { withClient } from '../../../store/database/binary-copy.ts'
import type { Store } from '../../../store/postgres.ts'
import {
  settleAccount,
  type Entry,
  copyPredictions,
  isKnown,
  isRefusal,
  storePredictions,
  type ErasureFilter,
} from '../../../store/serving/prediction-log.ts'
import type { Spool, SpooledBlock } from './spool.ts'

/** The counts of the log that the recovery changes, in rows. */
export interface RecoveryCounts {
  served: number
  stored: number
  spooled: number
  dropped: number
  /** Rows of dead processes, stored from their spools or lost with them; not included in this process's equation. */
  recovered: number
  lost: number
}

export interface RecoveryOptions {
  store: Store
  spool: Spool
  counts: RecoveryCounts
  /** Excludes rows of subjects who were erased after the rows were spooled; absent without erasures. */
  findErasureFilter?: () => Promise<ErasureFilter | undefined>
  onError: (message: string, error?: unknown) => void
}

export function createSpoolRecovery(options: RecoveryOptions) {
  const { store, spool, counts, onError } = options
  /**
   * Stores rows and resolves with the number of rejected ones. Tries a copy first, which takes a third of the time of the checked insert,
   * because most rows were never sent before.
   */
  const storeRows = async (bytes: Buffer, entry: Entry): Promise<number> => {
    const erasureFilter = await options.findErasureFilter?.()
    if (erasureFilter !== undefined)
      return withClient(store, (client) => storePredictions(client, bytes, entry.account, erasureFilter))
    try {
      await withClient(store, (client) => copyPredictions(client, [bytes], entry))
      return 0
    } catch (error) {
      if (!isRefusal(error) && !isKnown(error)) throw error
    }
    return withClient(store, (client) => storePredictions(client, bytes, entry.account))
  }
  const restore = async ({ rows, bytes, account }: SpooledBlock): Promise<void> => {
    const refused = await storeRows(bytes, { account, rows })
    if (account === spool.account) {
      counts.spooled -= rows
      counts.stored += rows - refused
      counts.dropped += refused
    } else counts.recovered += rows - refused
  }
  return {
    /** Stores everything in the spool and settles the accounts of dead processes. Throws when Postgres is unavailable. */
    async drain(): Promise<void> {
      const drained = await spool.drain(restore)
      counts.spooled -= drained?.lostRows ?? 0
      counts.dropped += drained?.lostRows ?? 0
      for (const left of spool.left()) {
        const lost = await settleAccount(store, { account: left.name, served: left.served })
        counts.lost += lost
        if (lost > 0) onError(`a process that has ended lost ${lost} rows of the prediction log`)
        await spool.forget(left)
      }
    },
    /** Settles the account of this process, unless rows remain for the next process to store. */
    async settleOwn(): Promise<void> {
      if (spool.bytes() > 0 || counts.spooled > 0) return
      if (counts.served > 0) await settleAccount(store, { account: spool.account, served: counts.served })
      await spool.close()
    },
  }
}
