/** Creates the coming partitions of the prediction log and deletes expired rows. */
import { heartbeat } from '@temporalio/activity'
import {
  dropPartitions,
  deleteExpiredRows,
  createPartitions,
  type ExpiringTable,
} from '../../store/serving/prediction-log.ts'
import { endAlertsOfDeleted, listLeftovers, sweepLeftover } from '../../store/registry/deleted-models.ts'
import { deleteExpiredPartitions } from '../../store/triggers/firings.ts'
import type { Deps } from '../deps.ts'
import { dropErasedSnapshots } from '../privacy/data-subjects.ts'

/**
 * Days created ahead, so that the control worker may be down for a week. Later rows go to the default partition, which cannot be dropped.
 */
const daysAhead = 7

/** Tables kept as long as predictions, and tables kept as long as decisions. */
const withPredictions: readonly ExpiringTable[] = [
  'predictions_default',
  'outcomes',
  'reviews',
  'events',
  'shadow_pairs',
  'failed_requests',
  'tick_counters',
  'feature_counts',
  'erased_requests',
  'model_files',
]
const countedUnitsDays = 1
const withJudgements: readonly ExpiringTable[] = [
  'prediction_log_accounts',
  'drift_judgements',
  'quality_judgements',
  'serving_judgements',
  'monitor_windows',
  'integration_outbox',
  'commands',
  'trigger_firings',
]

export const createLogPartitions =
  ({ store, log }: Deps) =>
  async (): Promise<number> => {
    const made = await createPartitions(store, daysAhead)
    if (made > 0) log.info({ made }, 'log partitions created')
    return made
  }

export const deleteExpired =
  (deps: Deps) => async (): Promise<{ daysDropped: string[]; rows: Record<string, number> }> => {
    const { store, log } = deps
    const { retention } = deps.config
    const daysDropped = await dropPartitions(store, retention.predictionDays)
    const rows: Record<string, number> = {}
    const forget = async (table: ExpiringTable, keepDays: number): Promise<void> => {
      for (;;) {
        const deleted = await deleteExpiredRows(store, { table, keepDays })
        heartbeat()
        if (deleted === 0) return
        rows[table] = (rows[table] ?? 0) + deleted
      }
    }
    for (const table of withPredictions) await forget(table, retention.predictionDays)
    await forget('counted_units', countedUnitsDays)
    for (const table of withJudgements) await forget(table, retention.judgementDays)
    await forget('batch_predictions', retention.partitionDays)
    const partitions = await deleteExpiredPartitions(store, retention.partitionDays)
    if (partitions > 0) rows['batch_partitions'] = partitions
    await endAlertsOfDeleted(store)
    for (const leftover of await listLeftovers(store))
      for (;;) {
        const deleted = await sweepLeftover(store, leftover)
        heartbeat()
        if (deleted === 0) break
        rows['deleted models'] = (rows['deleted models'] ?? 0) + deleted
      }
    const snapshots = await dropErasedSnapshots(deps)
    if (snapshots > 0) rows['snapshots'] = snapshots
    if (daysDropped.length > 0 || Object.keys(rows).length > 0)
      log.info({ daysDropped, rows }, 'expired rows deleted')
    return { daysDropped, rows }
  }
