/** Tests that the audit log explains how a version came about: who changed the model, who asked for a retraining, and how it ended. */
import { randomUUID } from 'node:crypto'
import { MockActivityEnvironment } from '@temporalio/testing'
import type { Client } from '@temporalio/client'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openBatch } from '../../../activities/batch/batch.ts'
import { endRetraining, openRetraining } from '../../../activities/retrain/retraining.ts'
import { textsOfChange } from '../../../domain/installation/model-change.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { auditModelChanges, noteModelChanges } from '../../../store/registry/models.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { orderedStart } from '../../support/commands/signed.ts'
import { insertModel, insertPeople, type Registry } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let deps: ActivityDeps
let registry: Registry
const model = uniqueName('roses')
beforeAll(async () => {
  deps = await openActivityDeps()
  await insertPeople(deps.store, { olga: 'operator' })
  const { artifactRoot } = deps.config
  registry = await insertModel(deps.store, { model, policy: releasePolicy, artifactRoot })
})
afterAll(() => deps?.close())

const workflowService = { describeWorkflowExecution: () => Promise.reject(new Error('not asked here')) }
const client = { workflowService, withAbortSignal: (_: AbortSignal, run: () => unknown) => run() }
const inActivity = <T>(work: (...args: never[]) => Promise<T>, input: object): Promise<T> =>
  new MockActivityEnvironment({}, { client: client as unknown as Client }).run(
    work as (input: object) => Promise<T>,
    input,
  )
const audited = async (action: string) =>
  (await listAudit(deps.store, { model, action })).map(({ actor, subject, detail }) => ({
    actor,
    subject,
    ...detail,
  }))

it('a retraining is recorded once when it starts, with its requester and reason, and once when it ends, with the verdict', async () => {
  const run = randomUUID()
  const retrainingId = `retrain/${model}/${run}`
  const asOf = '2026-01-01T00:00:00.000Z'
  const request = await orderedStart(deps, 'retrain', {
    model,
    asOf,
    requestedBy: 'olga',
    evidence: { reason: 'new tariffs', row: 'kept out' },
  })
  const input = { ...request, retrainingId }
  await inActivity(openRetraining(deps), input)
  await inActivity(openRetraining(deps), input)
  expect(await audited('retraining.started')).toEqual([
    {
      actor: 'olga',
      subject: retrainingId,
      trigger: 'manual',
      reason: 'new tariffs',
      asOf,
      isBrought: false,
    },
  ])
  const version = await registry.register()
  const evaluation = `evl_${run.replaceAll('-', '')}`
  await deps.store.query(sql`
    insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, inputs, page, report_digest)
    select ${evaluation}, model, training_id, snapshot_digest, artifact_digest, 'not_better', report, inputs, page, 'sha256:report'
    from evaluations where id = ${`e-${version}`}`)
  const report = { reasons: [{ message: 'the fairness gap is 0.3, limit 0.2' }], needsPerson: false }
  await deps.store.query(
    sql`update evaluations set report = ${JSON.stringify(report)} where id = ${evaluation}`,
  )
  await endRetraining(deps)({ run: retrainingId })
  await endRetraining(deps)({ run: retrainingId })
  expect(await audited('retraining.ended')).toEqual([
    {
      actor: 'system',
      subject: retrainingId,
      outcome: 'not_better',
      reason: 'the fairness gap is 0.3, limit 0.2 (against the floors)',
      evaluation,
      verdict: 'not_better',
      reportDigest: 'sha256:report',
    },
  ])
})

it('a batch is recorded once, without the text of its query', async () => {
  const version = await registry.register()
  await moveChampion(deps.store, { model, to: version, cause: 'promotion', actor: 'anna', reason: 'first' })
  const order = { id: uniqueName('bat'), model, requestedBy: 'olga', key: ['id'] }
  const parts = { input: { kind: 'file', path: 'in.parquet' }, output: { kind: 'file', path: 'out.parquet' } }
  const request = await orderedStart(deps, 'batchPredict', { ...order, ...parts } as never)
  await inActivity(openBatch(deps), request)
  await inActivity(openBatch(deps), request)
  expect(await audited('batch.started')).toEqual([
    { actor: 'olga', subject: order.id, version, input: 'file', output: 'file' },
  ])
})

it('what a sync has changed is recorded by a process that can sign, in the order of the changes', async () => {
  const change = (before: string, after: string) => ({
    actor: 'cli/olga',
    action: 'model.synced' as const,
    model,
    detail: { before: { definition: before }, after: { definition: after }, fields: [] },
  })
  await noteModelChanges(deps.store, [change('a', 'b')])
  await noteModelChanges(deps.store, [change('b', 'a')])
  expect(await audited('model.synced')).toEqual([])
  expect(await auditModelChanges(deps.store)).toBe(2)
  expect(await auditModelChanges(deps.store)).toBe(0)
  expect(await audited('model.synced')).toMatchObject([
    { actor: 'cli/olga', after: { definition: 'a' }, syncedAt: expect.any(String) as unknown },
    { actor: 'cli/olga', after: { definition: 'b' } },
  ])
})

it('the fields of a changed model are named, with the values of limits and not those of rows', () => {
  const definition = (gap: number | undefined, age: number) =>
    ({
      name: 'roses',
      evaluation: { policy: { fairness: { gap } } },
      golden: [{ age }],
      about: `${age}`,
    }) as unknown as ModelDefinition
  expect(textsOfChange(definition(0.2, 1), definition(0.1, 2))).toEqual([
    'golden',
    'evaluation.policy.fairness.gap: 0.2 → 0.1',
    'about',
  ])
  expect(textsOfChange(definition(0.2, 1), definition(undefined, 1))).toEqual([
    'evaluation.policy.fairness.gap: 0.2 → unset',
  ])
  expect(textsOfChange(undefined, definition(0.2, 1))).toEqual([])
})
