/** Tests that files of a model are applied only over those that they were compared with, and that files which were taken back wait no longer. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { maxChecks, maxOwnChecks } from '../../../../api/services/registry/check-model-files.ts'
import { approveFiles, showWaiting, syncModel } from '../../../../api/services/registry/sync-model.ts'
import { depsOf } from '../../../../api/auth/authorization.ts'
import type { Actor } from '../../../../api/auth/authentication.ts'
import { digestOf } from '../../../../store/artifacts.ts'
import { listAudit } from '../../../../store/audit/audit-log.ts'
import { findWaitingFiles, putModelFiles, type ModelFiles } from '../../../../store/registry/model-files.ts'
import { upsertModels } from '../../../../store/registry/models.ts'
import { listViews, upsertView } from '../../../../store/features/feature-views.ts'
import { csv, number, view } from '../../../../models/define.ts'
import type { ModelDefinition } from '../../../../domain/model-definition.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

const model = 'pansies'
const definition = { name: model, features: {} } as ModelDefinition
const leo = { name: 'leo', role: 'developer' } as Actor
const ada = { name: 'ada', role: 'approver' } as Actor

/** Files by their content; the check of their content is tested with a server. */
const filesOf = (content: string): Omit<ModelFiles, 'sentAt'> => ({
  model,
  archive: Buffer.from(content),
  digest: digestOf(Buffer.from(content)),
  definition,
  codeDigest: digestOf(Buffer.from(`code of ${content}`)),
  files: {},
  sentBy: 'leo',
  state: 'waiting',
})
const used = filesOf('in use')
const sent = filesOf('sent')
const rowOf = ({ digest, codeDigest }: typeof used) => ({
  name: model,
  definition,
  codeDigest,
  filesDigest: digest,
})

let fixture: ServingFixture
let api: TestApi
beforeAll(async () => {
  fixture = await openServingFixture()
  api = await startApi(fixture)
  await upsertModels(fixture.store, [rowOf(used)])
  await putModelFiles(fixture.store, { ...used, state: 'applied' })
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

it('settings are not applied over files that were applied since they were compared', async () => {
  const evaluation = { policy: { floors: { rmse: 4 } } } as unknown as ModelDefinition['evaluation']
  const changed = { ...filesOf('settings'), definition: { ...definition, evaluation } }
  await putModelFiles(fixture.store, { ...changed, state: 'applied' })
  await putModelFiles(fixture.store, sent)
  const { store } = api.deps
  const { transaction } = store
  let calls = 0
  store.transaction = async (work) => {
    // The first one ends the wait of the other files.
    if (++calls === 2) await upsertModels(fixture.store, [rowOf(filesOf('of somebody else'))])
    return transaction(work)
  }
  const synced = syncModel(api.deps, leo, { model, archive: changed.archive, isDry: false })
  await expect(synced.finally(() => (store.transaction = transaction))).rejects.toMatchObject({
    code: 'command_refused',
    message: 'pansies was changed in the meantime: send its files again',
  })
  await upsertModels(fixture.store, [rowOf(used)])
  await putModelFiles(fixture.store, sent)
})

it('files wait no longer when those in use are sent again', async () => {
  const again = { model, archive: used.archive, isDry: true }
  expect(await syncModel(api.deps, leo, again)).toMatchObject({ state: 'unchanged' })
  expect(await findWaitingFiles(fixture.store, model)).toMatchObject({ digest: sent.digest })
  expect(await syncModel(api.deps, leo, { ...again, isDry: false })).toMatchObject({ state: 'unchanged' })
  expect(await findWaitingFiles(fixture.store, model)).toBeUndefined()
  const [row] = await listAudit(fixture.store, { model, limit: 1 })
  expect(row).toMatchObject({
    actor: 'leo',
    action: 'model.code_rejected',
    detail: { files: sent.digest, reason: 'the code in use was sent again' },
  })
})

it('files are refused while a replica checks as many as it may, and as many of one user', async () => {
  const send = (content: number, name = 'leo') =>
    syncModel(
      api.deps,
      { ...leo, name },
      { model, archive: Buffer.from(`no archive ${content}`), isDry: true },
    )
  const checkedOf = async (users: string[]) => {
    const sent = await Promise.allSettled(users.map((name, content) => send(content, name)))
    const codes = sent.map((each) => (each as { reason?: { code: string } }).reason?.code)
    expect(new Set(codes)).toEqual(new Set(['invalid_model_file', 'overloaded']))
    return users.filter((_, at) => codes[at] === 'invalid_model_file')
  }
  const many = Array<string>(maxChecks).fill('leo')
  expect((await checkedOf([...many, 'mia'])).sort()).toEqual([...many.slice(0, maxOwnChecks), 'mia'])
  const all = ['leo', 'mia', 'tom'].flatMap((name) => Array<string>(maxOwnChecks).fill(name))
  expect(await checkedOf(all)).toHaveLength(maxChecks)
  await expect(send(0)).rejects.toMatchObject({ code: 'invalid_model_file' })
})

it('a view of other models is named, and changed only by those who may decide about them; another query is another view', async () => {
  const delays = (spec: object) =>
    view('delays', {
      entity: 'origin',
      source: csv('data/delays.csv', { eventTime: 'at' }),
      knownAt: 'known',
      values: { mean: number() },
      timeToLive: '1 d',
      ...spec,
    }).definition
  const withView = (name: string, spec: object = {}) => ({ ...definition, name, views: [delays(spec)] })
  const other = withView('fraud')
  await upsertModels(fixture.store, [{ ...rowOf(used), name: 'fraud', definition: other }])
  await upsertView(fixture.store, other.views[0]!)
  const shown = async (name: string, spec: object) => {
    await putModelFiles(fixture.store, { ...filesOf(name), definition: withView(model, spec) })
    return (await showWaiting(api.deps, model))!.fields.filter((each) => each.includes('fraud'))
  }
  expect(await shown('same', {})).toEqual([])
  const query = { source: csv('data/salaries.csv', { eventTime: 'at' }) }
  expect(await shown('query', query)).toEqual([])
  expect(delays(query).digest).not.toBe(other.views[0]!.digest)
  expect(await shown('keep', { keep: '2 d' })).toEqual(['the view delays of fraud too'])
  // As a route does: the key sees the rows of its models alone, so the other model is hidden from the check.
  const scoped = { ...ada, models: new Set([model]) } as Actor
  const deps = depsOf(api.deps, scoped)
  expect((await showWaiting(deps, model))!.fields).toContain('the view delays of other models too')
  const approved = approveFiles(deps, scoped, filesOf('keep'))
  await expect(approved).rejects.toMatchObject({
    code: 'forbidden',
    message: 'the key ada has no access to all models that use the view delays',
  })
  // Nor by a statement of its own, once its own model uses the view.
  await upsertModels(fixture.store, [{ ...rowOf(used), definition: withView(model) }])
  await expect(upsertView(deps.store, delays({ keep: '2 d' }))).rejects.toMatchObject({ code: 'forbidden' })
  await upsertView(deps.store, delays({}))
  for (const statement of [sql`delete from feature_views`, sql`delete from feature_history`])
    await deps.store.query(statement).catch(() => {})
  await upsertModels(fixture.store, [rowOf(used)])
  const [kept] = await listViews(fixture.store, { name: 'delays' })
  expect(kept!.definition).toEqual(JSON.parse(JSON.stringify(other.views[0])))
})

describe('files that no worker has loaded', () => {
  it.each([
    {
      cause: Object.assign(new Error('activity StartToClose timeout'), { name: 'TimeoutFailure' }),
      told: 'no worker has loaded the files of pansies in time. They still wait: approve them again',
    },
    { cause: new Error('the disk is full'), told: 'Workflow execution failed' },
  ])('still wait: $told', async ({ cause, told }) => {
    await putModelFiles(fixture.store, sent)
    const failed = Object.assign(new Error('Workflow execution failed', { cause }), {
      name: 'WorkflowFailedError',
    })
    const temporal = { ...api.deps.temporal, command: () => Promise.reject(failed) }
    await expect(approveFiles({ ...api.deps, temporal }, ada, sent)).rejects.toThrow(told)
    expect(await findWaitingFiles(fixture.store, model)).toMatchObject({ digest: sent.digest })
  })
})
