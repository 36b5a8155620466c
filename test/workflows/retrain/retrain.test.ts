/** Tests whole retrainings on the real Temporal, Postgres and TensorFlow. */
import { WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import sql from 'sql-template-tag'
import { DomainError } from '../../../domain/errors.ts'
import type { Actor } from '../../../api/auth/authentication.ts'
import { refusedInput, type RefusedOrder } from '../../../api/services/start-retraining.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { insertPeople } from '../../support/release/candidates.ts'
import { register } from '../../../activities/retrain/register.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { insertMonitorWindow } from '../../../store/monitoring/monitor-windows.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { getEvaluation } from '../../../store/training/evaluations.ts'
import { findRetraining, insertRetraining } from '../../../store/training/retrainings.ts'
import { getRun } from '../../../store/training/runs.ts'
import { findTraining } from '../../../store/training/trainings.ts'
import { findValidation } from '../../../store/training/snapshots.ts'
import { markVersionRolledBack } from '../../../store/registry/champions.ts'
import { getVersion, listVersions } from '../../../store/registry/versions.ts'
import {
  queueWorkflowId,
  releaseWorkflowId,
  retrainProgress,
  retrainWorkflowId,
  type RetrainOutcome,
} from '../../../workflows/messages.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let pipeline: Pipeline
const model = uniqueName('roses')
const retrain = async (days: number, more: object = {}): Promise<RetrainOutcome> =>
  (await pipeline.start({ model, asOf: exampleDay(days), ...more })).result()
/** Ends the queue first, which would start the release of the next version. */
const endRelease = async (): Promise<void> => {
  for (const id of [queueWorkflowId(model), releaseWorkflowId(model)])
    await pipeline.client.workflow
      .getHandle(id)
      .terminate()
      .catch((error: unknown) => {
        if (!(error instanceof WorkflowNotFoundError)) throw error
      })
}
/** Alerts about retrainings; releases raise their own. */
const openAlerts = async () =>
  (await listAlerts(pipeline.store, { model, open: true })).filter(({ dedupeKey }) =>
    dedupeKey.startsWith('retraining/'),
  )
const runOf = ({ retrainingId }: RetrainOutcome) => retrainingId.split('/').at(-1)?.replaceAll('-', '') ?? ''

beforeAll(async () => {
  pipeline = await openPipeline()
  await syncExampleModel(pipeline.store, pipeline.models, { name: model })
  await insertExampleRows(pipeline.store, { from: 0, to: 60 })
})
afterAll(() => pipeline?.close())

describe('a retraining', () => {
  let first: RetrainOutcome
  let second: RetrainOutcome
  it('trains and registers a version from rows, and starts its release', async () => {
    first = await retrain(35, { requestedBy: 'olga', evidence: { reason: 'new roses' } })
    expect(first).toMatchObject({ outcome: 'released', version: `${model}_v1.0.0` })
    const run = runOf(first)
    const version = await getVersion(pipeline.store, first.version ?? '')
    const evaluation = await getEvaluation(pipeline.store, `evl_${run}`)
    expect(version).toMatchObject({
      createdBy: 'olga',
      evaluationId: `evl_${run}`,
      trainingId: `trn_${run}`,
      artifactDigest: evaluation.artifactDigest,
      lineage: {
        snapshot: first.snapshotDigest,
        asOf: exampleDay(35),
        seed: 1,
        hyperparameters: { epochs: 4 },
        metrics: { auc: expect.closeTo(0.93, 1) as unknown },
        rows: { train: 1200, test: 600 },
        validationId: `val_${run}`,
        retrainingId: first.retrainingId,
        requestedBy: 'olga',
        reason: 'manual',
        note: 'new roses',
      },
    })
    expect(evaluation).toMatchObject({
      verdict: 'better',
      report: { slices: [{ name: 'red', rows: expect.any(Number) as unknown }] },
    })
    expect(evaluation.baselineVersion).toBeUndefined()
    expect(await findRetraining(pipeline.store, first.retrainingId)).toMatchObject({
      outcome: 'released',
      version: first.version,
      snapshotDigest: first.snapshotDigest,
    })
    const [registered] = await listAudit(pipeline.store, {
      action: 'version.registered',
      subject: first.version ?? '',
    })
    expect(registered).toMatchObject({
      actor: 'olga',
      detail: { reason: 'new roses', verdict: 'better', reportDigest: evaluation.reportDigest },
    })
    const validation = await findValidation(pipeline.store, `val_${run}`)
    expect(validation).toMatchObject({ verdict: 'pass', report: { rows: 1800 } })
    const release = await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).describe()
    expect(first.releaseId).toBe(`rel_${release.runId.replaceAll('-', '')}`)
  })

  it('reports its progress and its search attributes', async () => {
    const handle = pipeline.client.workflow.getHandle(retrainWorkflowId(model))
    expect(await handle.query(retrainProgress)).toMatchObject({
      stage: 'ended',
      version: first.version,
      releaseId: first.releaseId,
    })
    const { searchAttributes } = await handle.describe()
    expect(searchAttributes).toMatchObject({
      Model: [model],
      CandidateVersion: [first.version],
      Outcome: ['released'],
    })
  })

  it('goes on when Postgres is away for longer than its attempts last', async () => {
    const { store } = pipeline
    let backAtMs: number | undefined
    const answer = store.query
    const query = vi.spyOn(store, 'query').mockImplementation((statement) => {
      if (!statement.text.includes('insert into validations')) return answer(statement)
      backAtMs ??= performance.now() + 2_500
      if (performance.now() < backAtMs)
        return Promise.reject(new DomainError('postgres_unavailable', 'the database system is starting up'))
      return answer(statement)
    })
    second = await retrain(36).finally(() => query.mockRestore())
    expect(backAtMs).toBeDefined()
    expect(second.version).toBe(`${model}_v1.1.0`)
  })

  it('does not interrupt a running release, and keeps its version for later', async () => {
    expect(second).toMatchObject({
      outcome: 'registered',
      version: `${model}_v1.1.0`,
      message: expect.stringContaining('another release') as unknown,
    })
    await endRelease()
  })

  it('of the same data and code registers a patch version with the same artifact', async () => {
    const again = await retrain(36)
    const versions = await listVersions(pipeline.store, { model })
    expect(versions.map(({ version }) => version)).toEqual(
      [2, 1, 0].map((each) => `${model}_v1.${['0.0', '1.0', '1.1'][each]}`),
    )
    expect(again.version).toBe(`${model}_v1.1.1`)
    expect(versions[0]?.artifactDigest).toBe(versions[1]?.artifactDigest)
    await endRelease()
  })

  it('registers once, regardless of repetitions', async () => {
    const input = await getRun(pipeline.store, first.retrainingId, ['retraining'])
    const before = (await listVersions(pipeline.store, { model })).length
    const all = await Promise.all([1, 2, 3].map(() => register(pipeline.deps)(input)))
    expect(all.map(({ version }) => version)).toEqual([first.version, first.version, first.version])
    expect(await listVersions(pipeline.store, { model })).toHaveLength(before)
  })

  it('is compared with the live champion, and stops when it is not better', async () => {
    const champion = first.version ?? ''
    await pipeline.store.query(sql`insert into champions (model, version) values (${model}, ${champion})`)
    await syncExampleModel(pipeline.store, pipeline.models, { name: model, learningRate: 0.0001, epochs: 1 })
    const worse = await retrain(36)
    expect(worse).toMatchObject({
      outcome: 'not_better',
      message: expect.stringContaining(champion) as unknown,
    })
    expect(worse.version).toBeUndefined()
    const evaluation = await getEvaluation(pipeline.store, `evl_${runOf(worse)}`)
    expect(evaluation).toMatchObject({ verdict: 'not_better', baselineVersion: champion })
    const auc = evaluation.report.metrics.find(({ metric }) => metric === 'auc')
    expect(auc?.champion).toBeGreaterThan(auc?.challenger ?? 1)
    expect(await openAlerts()).toMatchObject([
      { kind: 'not_better', evidence: { evaluationId: evaluation.id } },
    ])
  })

  it('that gives the artifact of the champion again ends as unchanged, with nothing to approve', async () => {
    await syncExampleModel(pipeline.store, pipeline.models, { name: model })
    const before = await listVersions(pipeline.store, { model })
    const again = await retrain(35, { requestedBy: 'olga' })
    expect(again).toMatchObject({
      outcome: 'unchanged',
      message: `nothing new: rows, code and settings produced the artifact of the champion ${first.version} again`,
    })
    expect(again.version).toBeUndefined()
    expect(await findRetraining(pipeline.store, again.retrainingId)).toMatchObject({ outcome: 'unchanged' })
    expect(await listVersions(pipeline.store, { model })).toHaveLength(before.length)
    expect(await openAlerts()).toEqual([])
  })

  it('that gives the artifact of a version that was rolled back says so, and does not offer it', async () => {
    const back = `${model}_v1.1.0`
    await pipeline.store.transaction((database) => markVersionRolledBack(database, back))
    const again = await retrain(36)
    expect(again).toMatchObject({
      outcome: 'unchanged',
      message: expect.stringMatching(`the artifact of ${back} again, which was rolled back at 20`) as unknown,
    })
    expect(again.releaseId).toBeUndefined()
  })

  it('closes the alert when it succeeds, and its version names the hyperparameters that the request has set', async () => {
    await syncExampleModel(pipeline.store, pipeline.models, { name: model })
    const again = await retrain(37, { overrides: { batchSize: 128, epochs: 4 } })
    expect(again).toMatchObject({ outcome: 'released', version: `${model}_v1.2.0` })
    const { lineage } = await getVersion(pipeline.store, again.version ?? '')
    expect(lineage.hyperparameters).toEqual({ epochs: 4, batchSize: 128, learningRate: 0.05 })
    // The model file has four epochs too.
    expect(lineage.overrides).toEqual({ batchSize: 128 })
    expect(await openAlerts()).toEqual([])
    await endRelease()
  })

  it('is insufficient without enough rows to evaluate', async () => {
    await syncExampleModel(pipeline.store, pipeline.models, {
      name: model,
      more: `evaluation: { floors: { auc: 0.7 }, evidence: { rows: 5_000 } },`,
    })
    expect(await retrain(37)).toMatchObject({ outcome: 'insufficient' })
    await syncExampleModel(pipeline.store, pipeline.models, { name: model })
  })

  it('of a bad batch quarantines it with a report, and trains nothing', async () => {
    await pipeline.store.query(sql`update roses set colour = 'blue' where planted_at > ${exampleDay(20)}`)
    const bad = await retrain(38)
    await pipeline.store.query(sql`update roses set colour = 'red' where colour = 'blue'`)
    expect(bad).toMatchObject({
      outcome: 'quarantined',
      message: expect.stringContaining('the data failed validation: colour: ') as unknown,
    })
    const validation = await findValidation(pipeline.store, `val_${runOf(bad)}`)
    expect(validation).toMatchObject({ verdict: 'block', snapshotDigest: bad.snapshotDigest })
    expect(await findTraining(pipeline.store, `trn_${runOf(bad)}`)).toBeUndefined()
    expect(await openAlerts()).toMatchObject([{ kind: 'quarantined' }])
  })

  it('reports the reason when it fails', async () => {
    expect(await retrain(-5)).toMatchObject({
      outcome: 'failed',
      message: expect.stringContaining('no train rows') as unknown,
    })
    await syncExampleModel(pipeline.store, pipeline.models, {
      name: model,
      more: `train: () => Promise.reject(new Error('no soil')),`,
    })
    const failed = await retrain(35)
    expect(failed).toMatchObject({
      outcome: 'failed',
      message: expect.stringContaining('no soil') as unknown,
    })
    expect(await findRetraining(pipeline.store, failed.retrainingId)).toMatchObject({
      outcome: 'failed',
      errorCode: 'training_failed',
    })
    expect(await openAlerts()).toMatchObject([{ kind: 'failed', severity: 'critical' }])
    await syncExampleModel(pipeline.store, pipeline.models, { name: model })
  })

  it('ends as cancelled when cancelled, with its process', async () => {
    await syncExampleModel(pipeline.store, pipeline.models, { name: model, epochs: 500 })
    const handle = await pipeline.start({ model, asOf: exampleDay(35) })
    const trainingId = `trn_${handle.firstExecutionRunId.replaceAll('-', '')}`
    await expect.poll(async () => (await findTraining(pipeline.store, trainingId))?.epoch).toBeGreaterThan(0)
    await handle.cancel()
    expect(await handle.result()).toMatchObject({ outcome: 'cancelled' })
    const pid = pipeline.lines.filter(({ message }) => message === 'trainer started').at(-1)?.fields['pid']
    expect(() => process.kill(Number(pid), 0)).toThrow('ESRCH')
    await syncExampleModel(pipeline.store, pipeline.models, { name: model })
  })
})

describe('a challenger that the gate refused', () => {
  const asAdmin = { id: 'key_ada', name: 'ada', role: 'admin' } as Actor
  let refused: RetrainOutcome
  const order = (more: Partial<RefusedOrder> = {}) =>
    refusedInput(pipeline, asAdmin, {
      retraining: refused.retrainingId,
      reason: 'the champion answers nonsense',
      digests: {},
      ...more,
    })

  it('is registered by break-glass by no key but that of an admin, for its own digests', async () => {
    await insertPeople(pipeline.store, { ada: 'admin' })
    await syncExampleModel(pipeline.store, pipeline.models, { name: model, learningRate: 0.0001, epochs: 1 })
    refused = await retrain(36)
    expect(refused.outcome).toBe('not_better')
    const code = (run: Promise<unknown>) =>
      run.then(
        () => 'accepted',
        (error: DomainError) => error.code,
      )
    expect(await code(order({ reason: ' ' }))).toBe('command_refused')
    expect(await code(order({ digests: { evaluation: `sha256:${'0'.repeat(64)}` } }))).toBe('command_refused')
    const passed = (await listVersions(pipeline.store, { model })).at(0)!.lineage.retrainingId
    expect(await code(order({ retraining: passed }))).toBe('command_refused')
    const start = await order()
    const asOperator = await pipeline.start({ ...start, requestedBy: 'olga' })
    expect(await code(asOperator.result())).not.toBe('accepted')
    // A row that names other digests than those of the refused challenger registers nothing.
    const { artifact } = start
    const forged = {
      ...artifact!,
      refused: { ...artifact!.refused!, evaluation: `sha256:${'0'.repeat(64)}` },
    }
    const other = await pipeline.start({ model, artifact: forged, requestedBy: 'ada' })
    expect(await other.result()).toMatchObject({ outcome: 'failed' })
  })

  it('cannot be where the model file forbids it', async () => {
    const file = { name: model, learningRate: 0.0001, epochs: 1 }
    const more = `evaluation: { floors: { auc: 0.7 }, breakGlass: false },`
    await syncExampleModel(pipeline.store, pipeline.models, { ...file, more })
    await expect(order()).rejects.toThrow('its model file forbids it')
    await syncExampleModel(pipeline.store, pipeline.models, file)
  })

  it('keeps the mark in its version, the audit log and an alert, and its release opens for approval', async () => {
    const { reason, ...start } = await order()
    const handle = await pipeline.start({ ...start, evidence: { reason }, requestedBy: 'ada' })
    const done = await handle.result()
    expect(done).toMatchObject({
      outcome: 'released',
      message: expect.stringContaining('was refused by the gate and registered by break-glass') as unknown,
    })
    const { lineage, artifactDigest } = await getVersion(pipeline.store, done.version!)
    const evaluation = await getEvaluation(pipeline.store, `evl_${runOf(refused)}`)
    const breakGlass = {
      retraining: refused.retrainingId,
      artifact: artifactDigest,
      evaluation: evaluation.reportDigest,
    }
    expect(lineage).toMatchObject({ breakGlass, requestedBy: 'ada', note: reason })
    const [registered] = await listAudit(pipeline.store, {
      action: 'version.registered',
      subject: done.version!,
    })
    expect(registered).toMatchObject({ actor: 'ada', detail: { verdict: 'not_better', breakGlass, reason } })
    const alerts = await listAlerts(pipeline.store, { model, open: true })
    expect(alerts).toContainEqual(
      expect.objectContaining({
        kind: 'break_glass',
        severity: 'critical',
        message: `Break-glass registration of ${done.version}, which the gate refused, by ada: ${reason}`,
      }),
    )
    const release = await findRelease(pipeline.store, done.releaseId!)
    expect(release?.state.digests).toMatchObject({
      artifact: artifactDigest,
      evaluation: evaluation.reportDigest,
    })
    await endRelease()
  })
})

describe('a retraining request', () => {
  const failure = async (given: object, id = uniqueName('retrain')) => {
    const handle = await pipeline.start(given as { model: string }, id)
    return handle.result().then(
      () => undefined,
      (error: unknown) => (error instanceof WorkflowFailedError ? error.cause : error),
    )
  }

  it.each([
    ['nothing', {}, '"model" must be a non-empty text'],
    ['an empty order', { model: 'roses', order: '' }, '"order" must be a non-empty text'],
    ['a text with NUL', { model: 'roses', order: 'cmd\0' }, 'must not contain NUL'],
  ])('with %s fails at once with the reason', async (_name, given, message) =>
    expect(await failure({ order: undefined, ...given })).toMatchObject({
      type: 'invalid_request',
      message: expect.stringContaining(message) as unknown,
      nonRetryable: true,
    }),
  )

  it('with an undeclared hyperparameter fails at once with those that the model has', async () => {
    const failed = await failure({ model, overrides: { units: 3 } }, retrainWorkflowId(model))
    expect(failed).toMatchObject({
      type: 'invalid_request',
      message: `${model} has no hyperparameter "units": it has epochs, batchSize, learningRate`,
    })
  })

  it('for an unknown model fails at once', async () => {
    const unknown = uniqueName('thorns')
    expect(await failure({ model: unknown, order: undefined }, retrainWorkflowId(unknown))).toMatchObject({
      type: 'model_not_found',
    })
  })

  it('under another workflow id runs under the id of the model, and never twice at a time', async () => {
    await syncExampleModel(pipeline.store, pipeline.models, { name: model, epochs: 500 })
    const handle = await pipeline.start({ model, asOf: exampleDay(35) }, uniqueName('by-hand'))
    const own = pipeline.client.workflow.getHandle(retrainWorkflowId(model))
    await expect
      .poll(() =>
        own.query(retrainProgress).then(
          ({ stage }) => stage,
          () => undefined,
        ),
      )
      .toBe('train')
    expect(await failure({ model, asOf: exampleDay(35) })).toMatchObject({
      cause: undefined,
      type: 'retraining_in_progress',
    })
    await handle.cancel()
    expect(await handle.result()).toMatchObject({ outcome: 'cancelled' })
    expect(await own.result()).toMatchObject({ outcome: 'cancelled' })
    await syncExampleModel(pipeline.store, pipeline.models, { name: model })
  })

  it('held back by its limits ends as throttled, and reads no data', async () => {
    const trainings = () => pipeline.store.query(sql`select id from trainings where model = ${model}`)
    const before = (await trainings()).length
    const trigger = {
      model,
      reason: 'drift',
      dedupeKey: 'drift/1',
      message: 'it drifts',
      evidence: {},
    } as const
    const window = { model, fromMs: 0, toMs: 1, facts: {}, findings: {}, judge: 'test' }
    await insertMonitorWindow(pipeline.store, { ...window, trigger: { action: 'start', trigger } })
    const held = await (await pipeline.start({ model, order: trigger.dedupeKey })).result()
    expect(held).toMatchObject({
      outcome: 'throttled',
      // The release of an earlier test may still be open.
      message: expect.stringMatching(/the last training|is being released/) as unknown,
    })
    expect(held.snapshotDigest).toBeUndefined()
    expect(await trainings()).toHaveLength(before)
    expect(await findRetraining(pipeline.store, held.retrainingId)).toMatchObject({
      outcome: 'throttled',
      reason: 'drift',
      dedupeKey: 'drift/1',
      message: held.message,
    })
    const run = await pipeline.client.workflow.getHandle(retrainWorkflowId(model)).describe()
    expect(run.searchAttributes).toMatchObject({ Outcome: ['throttled'] })
  })

  it('is not blocked by a workflow that was ended from outside', async () => {
    const left = await insertRetraining(pipeline.store, {
      id: `${retrainWorkflowId(model)}/gone`,
      model,
      reason: 'manual',
      requestedBy: 'olga',
      asOf: exampleDay(1),
      evidence: {},
    })
    expect(left?.endedAt).toBeUndefined()
    expect(await retrain(-5)).toMatchObject({ outcome: 'failed' })
    expect(await findRetraining(pipeline.store, left?.id ?? '')).toMatchObject({
      outcome: 'failed',
      message: expect.stringContaining('from outside') as unknown,
    })
  })
})
