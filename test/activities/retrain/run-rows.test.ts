/**
 * Tests that the activities of a run take its id and believe nothing else: a client of Temporal can call each of them on a real worker with
 * any arguments.
 */
import { MockActivityEnvironment } from '@temporalio/testing'
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { versionPage } from '../../../api/dashboard/pages/model/model-version.tsx'
import { startRelease } from '../../../api/services/start-release.ts'
import { ofRun } from '../../../activities/runtime/of-run.ts'
import { controlActivities, trainingActivities } from '../../../activities/activities.ts'
import type { GateVerdict } from '../../../domain/evaluation/gate.ts'
import { DomainError } from '../../../domain/errors.ts'
import { idsOfRow } from '../../../domain/training/runs.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { insertSweep, insertTrial } from '../../../store/training/sweeps.ts'
import { listVersions } from '../../../store/registry/versions.ts'
import { findRetraining, insertRetraining } from '../../../store/training/retrainings.ts'
import { getRun, recordFailure, recordSnapshot } from '../../../store/training/runs.ts'
import { beginTraining, endTraining } from '../../../store/training/trainings.ts'
import { insertValidation } from '../../../store/training/snapshots.ts'
import { insertKey } from '../../../store/access/api-keys.ts'
import { openOrdered } from '../../support/commands/open-ordered.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { insertModel, putNetwork } from '../../support/release/candidates.ts'
import { snapshotOf } from '../../support/serving/registration.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let deps: ActivityDeps
let model: string
let artifactDigest: string
beforeAll(async () => {
  deps = await openActivityDeps()
})
afterAll(() => deps?.close())
beforeEach(async () => {
  model = uniqueName('roses')
  await insertModel(deps.store, { model, policy: releasePolicy, artifactRoot: deps.config.artifactRoot })
  artifactDigest = await putNetwork(deps.artifacts, model)
})

type Activities = ReturnType<typeof controlActivities> & ReturnType<typeof trainingActivities>
const call = <Name extends keyof Activities>(name: Name, ...given: Parameters<Activities[Name]>) => {
  const activities = { ...controlActivities(deps), ...trainingActivities(deps) }
  return new MockActivityEnvironment().run(activities[name] as never, ...given) as ReturnType<
    Activities[Name]
  >
}

/** A retraining that has stored all rows of its stages, or those that the options leave. */
async function retrained({
  verdict = 'better',
  validation = 'pass',
  more = {},
}: { verdict?: GateVerdict | 'none'; validation?: 'pass' | 'block'; more?: object } = {}): Promise<string> {
  const { store } = deps
  const id = `retrain/${model}/${randomUUID()}`
  const { trainingId, validationId, evaluationId } = idsOfRow(id)
  const snapshotDigest = snapshotOf(model)
  const asked = { model, reason: 'manual', requestedBy: 'olga', asOf: '2026-01-01T00:00:00Z', evidence: {} }
  await insertRetraining(store, { id, ...asked, ...more })
  await recordSnapshot(store, { run: id, digest: snapshotDigest })
  const failed = {
    check: 'rowCount',
    subject: 'rows',
    severity: 'block',
    passed: false,
    found: '1 row',
    required: '2',
  }
  const report = { results: validation === 'block' ? [failed] : [] }
  await insertValidation(store, { id: validationId, model, snapshotDigest, verdict: validation, report })
  const code = { seed: 1, hyperparameters: {}, codeDigest: 'c', dependenciesDigest: 'd' }
  await beginTraining(store, { id: trainingId, model, snapshotDigest, ...code })
  await endTraining(store, { id: trainingId, attempt: 1, status: 'done', artifactDigest, ...code })
  if (verdict !== 'none')
    await store.query(sql`
      insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest)
      values (${evaluationId}, ${model}, ${trainingId}, ${snapshotDigest}, ${artifactDigest}, ${verdict},
        '{"reasons": [{"message": "AUC 0.6, the champion has 0.7"}], "needsPerson": false, "metrics": [], "rows": 2}', 'r')`)
  return id
}
const end = (run: string) => call('endRetraining', { run })
const openAlerts = async () =>
  (await listAlerts(deps.store, { model, open: true })).map((each) => each.message)

describe('a version', () => {
  it.each([
    ['the gate has rejected', { verdict: 'not_better' }, 'the verdict of the gate is not_better'],
    ['had too few rows', { verdict: 'insufficient' }, 'the verdict of the gate is insufficient'],
    ['was not evaluated', { verdict: 'none' }, 'it has not been evaluated'],
    ['was trained on rows that failed', { validation: 'block' }, 'its rows failed the validation'],
  ] as const)('is not registered by a retraining that %s', async (_what, options, why) => {
    const run = await retrained(options)
    await expect(call('register', { run })).rejects.toMatchObject({
      type: 'forbidden',
      message: `${run} cannot register a version: ${why}`,
    })
    expect(await listVersions(deps.store, { model })).toEqual([])
  })

  it('is not registered on the evaluation of another training', async () => {
    const run = await retrained({ verdict: 'none' })
    const { evaluationId, trainingId } = idsOfRow(run)
    await deps.store.query(sql`
      insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status, artifact_digest)
      select 'other-' || id, model, snapshot_digest, seed, code_digest, dependencies_digest, status, artifact_digest
      from trainings where id = ${trainingId}`)
    await deps.store.query(sql`
      insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest)
      values (${evaluationId}, ${model}, ${`other-${trainingId}`}, ${snapshotOf(model)}, ${artifactDigest}, 'better', '{}', 'r')`)
    await expect(call('register', { run })).rejects.toMatchObject({ type: 'forbidden' })
  })

  it('is registered once by a retraining that the gate accepts, and by none that has ended', async () => {
    const run = await retrained()
    const version = `${model}_v1.0.0`
    expect(await call('register', { run })).toEqual({ version, mayRelease: true })
    expect((await call('register', { run })).version).toBe(version)
    await end(run)
    await expect(call('register', { run })).rejects.toMatchObject({ type: 'forbidden' })
    expect(await listVersions(deps.store, { model })).toHaveLength(1)
  })
})

/** Each defect of the rows that a version is made of, and what is said of it. */
const defects = [
  [
    'was not validated',
    sql`update validations set snapshot_digest = 'other'`,
    'its rows have not been validated',
  ],
  ['failed its validation', sql`update validations set verdict = 'block'`, 'its rows failed the validation'],
  ['was not trained', sql`update trainings set status = 'failed'`, 'its training has not ended'],
  [
    'was trained on others',
    sql`update trainings set snapshot_digest = 'other'`,
    'its training has not ended',
  ],
  ['has another artifact', sql`update trainings set artifact_digest = 'other'`, 'another artifact'],
  [
    'was evaluated on others',
    sql`update evaluations set snapshot_digest = 'other'`,
    'it has not been evaluated',
  ],
  [
    'was evaluated with another artifact',
    sql`update evaluations set artifact_digest = 'other'`,
    'its evaluation judged another artifact',
  ],
  [
    'the gate has rejected',
    sql`update evaluations set verdict = 'not_better'`,
    'the verdict of the gate is not_better',
  ],
] as const

/** What the page of a version loads. */
type Asked = { notReleasable?: string }

/** Each place that asks whether a version may be released, and where it says why not. */
const places: Readonly<
  Record<string, (asked: { run: string; version: string; requestedBy: string }) => Promise<unknown>>
> = {
  registration: ({ run }) => call('register', { run }).catch(({ message }: Error) => message),
  start: ({ version, requestedBy: name }) =>
    startRelease
      .run(deps as never, { id: 'key', name, role: 'operator' } as never, { model, version }, { id: 'none' })
      .catch(({ message }: Error) => message),
  opening: ({ version, requestedBy }) =>
    openOrdered(deps, {
      workflowId: `release/${model}`,
      runId: randomUUID(),
      model,
      version,
      requestedBy,
    }),
  page: async ({ version }) => {
    const asked = { actor: { id: 'key', name: 'olga', role: 'operator' }, params: { name: model, version } }
    return ((await versionPage.load(deps as never, asked as never)) as Asked).notReleasable
  },
}

describe('a version whose data or artifact', () => {
  it.each(defects)('%s is released from no place', async (_what, breaks, why) => {
    const { store } = deps
    const run = await retrained()
    const { version } = await call('register', { run })
    const requestedBy = uniqueName('olga')
    await insertKey(store, { name: requestedBy, role: 'operator' })
    await store.query(sql`
      insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
      values ('other', ${model}, now(), 2, 10, '[]', '{}') on conflict do nothing`)
    await store.query(sql`${breaks} where model = ${model}`)
    for (const [place, ask] of Object.entries(places))
      expect(JSON.stringify(await ask({ run, version, requestedBy })), place).toContain(why)
  })

  it('is as the rule demands is released from every place', async () => {
    const run = await retrained()
    const { version } = await call('register', { run })
    const requestedBy = uniqueName('olga')
    await insertKey(deps.store, { name: requestedBy, role: 'operator' })
    const { registration, opening, page } = places
    const asked = { run, version, requestedBy }
    expect(await registration!(asked)).toMatchObject({ version })
    expect(await page!(asked)).toBeUndefined()
    expect(await opening!(asked)).toHaveProperty('state')
  })
})

describe('the end of a retraining', () => {
  it('is what its rows say, with the alert, and the first end stays', async () => {
    const run = await retrained({ verdict: 'not_better' })
    const ended = { outcome: 'not_better', message: 'AUC 0.6, the champion has 0.7 (against the floors)' }
    expect(await end(run)).toMatchObject(ended)
    expect(await openAlerts()).toEqual([ended.message])
    await recordFailure(deps.store, run, { message: 'late' })
    expect(await call('endRetraining', { run, isCancelled: true })).toMatchObject(ended)
    expect(await findRetraining(deps.store, run)).toMatchObject(ended)
  })

  it('names the checks that its rows failed', async () => {
    const run = await retrained({ validation: 'block', verdict: 'none' })
    expect(await end(run)).toMatchObject({
      outcome: 'quarantined',
      message: 'the data failed validation: rows: 1 row, 2 required',
    })
  })

  it('is no release because a caller names one that is not there, or is of another version', async () => {
    const run = await retrained()
    const { version } = await call('register', { run })
    const ended = await call('endRetraining', { run, releaseId: 'rel_of_nothing' })
    expect(ended).toMatchObject({
      outcome: 'registered',
      message: `${version} is registered and was not released: its release did not start`,
    })
  })

  it('says what the activity that failed has stored, and a fixed sentence where none could', async () => {
    const adopting = await retrained({ verdict: 'none', more: { artifact: { file: 'model.onnx' } } })
    // The order was to adopt an artifact, so nothing is trained.
    await expect(call('train', { run: adopting })).rejects.toMatchObject({ type: 'forbidden' })
    const failure = { message: `${idsOfRow(adopting).trainingId} adopts an artifact`, code: 'forbidden' }
    expect((await getRun(deps.store, adopting, ['retraining'])).failure).toEqual(failure)
    expect(await end(adopting)).toMatchObject({ outcome: 'failed', message: failure.message })
    expect(await findRetraining(deps.store, adopting)).toMatchObject({ errorCode: 'forbidden' })
    const silent = await retrained({ verdict: 'none' })
    expect((await end(silent)).message).toMatch(/^the evaluation did not finish and stored no error: /)
  })
})

it.each([
  'train',
  'prepareTraining',
  'adopt',
  'evaluate',
  'takeSnapshot',
  'validate',
  'finishTraining',
] as const)('%s of a run that has ended, or that is not there, is refused', async (name) => {
  const run = await retrained()
  await end(run)
  await expect(call(name, { run })).rejects.toMatchObject({ type: 'forbidden' })
  await expect(call(name, { run: `retrain/${model}/none` })).rejects.toMatchObject({ type: 'not_found' })
})

it('a run is ended by the activity of its kind alone', async () => {
  const { store } = deps
  const by = { model, requestedBy: 'olga', asOf: '2026-01-01T00:00:00Z' }
  const [sweep, trial] = [`swp_${randomUUID()}`, `try_${randomUUID()}`]
  await insertSweep(store, { id: sweep, ...by, plan: { candidates: [{}], parallel: 1 } })
  await insertTrial(store, { id: trial, ...by, overrides: {}, runId: 'run' })
  const runs = { endRetraining: await retrained(), endTrial: trial, endSweep: sweep }
  const ofNoRun = ['endDrill', 'endWait']
  const names = Object.keys(controlActivities(deps)).filter(
    (name) => name.startsWith('end') && !ofNoRun.includes(name),
  )
  expect(names.toSorted()).toEqual(Object.keys(runs).toSorted())
  for (const name of Object.keys(runs) as (keyof typeof runs)[])
    for (const [own, run] of Object.entries(runs))
      if (own !== name) await expect(call(name, { run })).rejects.toMatchObject({ type: 'forbidden' })
  const kinds = ['retraining', 'trial', 'sweep'] as const
  for (const run of Object.values(runs)) expect((await getRun(store, run, kinds)).endedAt).toBeUndefined()
})

it.each([
  ['stopped', { stopped: true }],
  ['failed', {}],
])(
  'a trial whose training says "stopped early" ended as %s by its error, not by its words',
  async (outcome, context) => {
    const { store } = deps
    const [sweep, trial] = [`swp_${randomUUID()}`, `try_${randomUUID()}`]
    const by = { model, requestedBy: 'olga', asOf: '2026-01-01T00:00:00Z' }
    await insertSweep(store, { id: sweep, ...by, plan: { candidates: [{}], parallel: 1 } })
    await insertTrial(store, { id: trial, ...by, overrides: {}, runId: 'run' })
    const message = 'the program ended with 1: RuntimeError: stopped early: loss is NaN'
    const train = ofRun(deps, ['trial'], () =>
      Promise.reject(new DomainError('training_failed', message, context)),
    )
    await expect(train({ run: trial })).rejects.toThrow(message)
    expect(await call('endTrial', { run: trial })).toMatchObject({ outcome, message })
  },
)

it('no training of a retraining can be scored as a trial, or chosen as the winner of a sweep', async () => {
  const run = await retrained()
  await expect(call('scoreTrial', { run })).rejects.toMatchObject({ type: 'forbidden' })
  await expect(call('chooseWinner', { run })).rejects.toMatchObject({ type: 'forbidden' })
})
