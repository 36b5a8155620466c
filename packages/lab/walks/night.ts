/** Seeds what a person on call meets: a failing champion, a cause that was told eight times, data that failed validation. */
import sql from 'sql-template-tag'
import type { ExpectationResult } from '../../../domain/validation/expectations.ts'
import { upsertAlert } from '../../../store/monitoring/alerts.ts'
import type { Store } from '../../../store/postgres.ts'
import { snapshotOf } from '../../../test/support/serving/registration.ts'

/** Seeds a retraining of which 2 of 28 checks failed, with its alert. `run`: a UUID. */
export async function seedFailedData(
  store: Store,
  { model, run }: { model: string; run: string },
): Promise<void> {
  const id = `retrain/${model}/${run}`
  const message =
    'the data failed 2 of 28 checks: late: 21.4 % of the rows, at least 35 % and at most 50 % required; distance: 31 % are null, at most 5 % allowed'
  const failed = (result: Partial<ExpectationResult>) => ({ severity: 'block', passed: false, ...result })
  const results = [
    failed({
      check: 'share',
      subject: 'late',
      message: 'share of late: 0.214, at least 0.35 and at most 0.5 is required',
      found: '21.4 % of the rows',
      required: 'at least 35 % and at most 50 %',
      champion: '41.2 %',
    }),
    failed({
      check: 'complete',
      subject: 'distance',
      message: '31 % of distance are null, at most 5 % is allowed',
      found: '31 % are null',
      required: 'at most 5 %',
      champion: '0.2 %',
      failing: 1_860,
    }),
    ...Array.from({ length: 26 }, (_, i) => ({
      check: 'finite',
      subject: `column ${i + 1}`,
      severity: 'block',
      passed: true,
      message: 'every value is finite',
      found: 'none is infinite',
      required: 'none',
    })),
  ]
  await store.query(sql`
    insert into validations (id, model, snapshot_digest, verdict, report)
    values (${`val_${run.replaceAll('-', '')}`}, ${model}, ${snapshotOf(model)}, 'block', ${JSON.stringify({ results })})`)
  await store.query(sql`
    insert into retrainings (id, model, reason, requested_by, as_of, outcome, message, snapshot_digest, started_at, ended_at)
    values (${id}, ${model}, 'schedule', 'schedule', now(), 'quarantined', ${message}, ${snapshotOf(model)},
      now() - interval '40 minutes', now() - interval '38 minutes')`)
  await upsertAlert(store, {
    dedupeKey: `retrain/${model}`,
    model,
    severity: 'warning',
    kind: 'quarantined',
    message,
    evidence: { retrainingId: id },
  })
}

/** Raises the alert of a champion of which half the requests fail. The requests themselves are those of `fillTraffic`. */
export const raiseFailing = (store: Store, model: string): Promise<number> =>
  upsertAlert(store, {
    dedupeKey: `champion/${model}`,
    model,
    severity: 'critical',
    kind: 'champion_failing',
    message: `49 % of the requests to ${model} failed in the last minute: 588 of 1,200. Limit: 1 %.`,
  })

/** Raises an alert for each of `count` releases that were rolled back for the same cause. */
export async function raiseRollbacks(store: Store, model: string, count: number): Promise<void> {
  for (let i = 1; i <= count; i++)
    await upsertAlert(store, {
      dedupeKey: `rolled-back/${model}/${i}`,
      model,
      severity: 'critical',
      kind: 'release_rolled_back',
      message: `${model}_v1.${i}.0 was rolled back: ${4 + i} of ${18 + i} canary requests invalid, control 0 of 312.`,
      evidence: { version: `${model}_v1.${i}.0` },
    })
}
