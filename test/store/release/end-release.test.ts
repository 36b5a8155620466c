/** Tests the rows that the end of a release writes when the champion has changed since, and which replicas its rollback cannot reach. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { concludeRelease, endInterrupted } from '../../../store/release/end-release.ts'
import { openingState } from '../../../domain/release/state.ts'
import { end } from '../../../domain/release/reducer.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { findChampion, markKnownGood, moveChampion } from '../../../store/registry/champions.ts'
import { findRouting, writeRoute } from '../../../store/serving/routing.ts'
import type { Store } from '../../../store/postgres.ts'
import {
  findRelease,
  insertRelease,
  lockRelease,
  saveRelease,
  applyReport,
} from '../../../store/release/releases.ts'
import {
  findRollbackPlan,
  findUnfencedBefore,
  returnToBaseline,
  rollBackChampion,
  rollBackServing,
} from '../../../store/release/rollback.ts'
import { findVersion } from '../../../store/registry/versions.ts'
import { releaseCommandIdOf } from '../../../store/commands.ts'
import { insertAnswered } from '../../support/commands/signed.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { firstFacts, releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'

const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-ending-'))
let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase(), { max: 2 })
})
afterAll(async () => {
  await store?.close()
  rmSync(artifactRoot, { recursive: true })
})

it.each([
  ['is still champion', false],
  ['is no longer champion', true],
])('a version that %s at the end of its probation is recorded as proven or not', async (_case, isMoved) => {
  const model = uniqueName('model')
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  const version = await registry.register()
  const other = await registry.register()
  const state = openingState({ ...firstFacts, id: `rel_${uniqueName('r')}`, model, version }, 0)
  await insertRelease(store, { state, workflowId: 'w', runId: 'r' })
  const move = { model, cause: 'promotion', actor: 'a', reason: 'r' } as const
  await moveChampion(store, { ...move, to: version, releaseId: state.id })
  if (isMoved) await moveChampion(store, { ...move, from: version, to: other })
  await store.transaction((database) =>
    concludeRelease(database, end(state, 1, 'promoted', 'all stages passed')),
  )
  expect((await findRelease(store, state.id))?.state.outcome).toBe('promoted')
  expect((await findVersion(store, version))?.knownGoodAt !== undefined).toBe(!isMoved)
})

it('a release that ends as rolled back in a restored backup returns its candidate from champion to the baseline', async () => {
  const model = uniqueName('model')
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  const baseline = await registry.register()
  const version = await registry.register(baseline)
  const move = { model, actor: 'a', reason: 'r', cause: 'promotion' } as const
  await moveChampion(store, { ...move, to: baseline })
  await markKnownGood(store, baseline)
  const facts = { ...firstFacts, id: `rel_${uniqueName('r')}`, model, version, baseline } as const
  const state = openingState(facts, 0)
  await insertRelease(store, { state, workflowId: 'w', runId: 'r' })
  await moveChampion(store, { ...move, from: baseline, to: version, releaseId: state.id })
  // As a restore leaves it: all traffic to the champion, and no release in the route.
  const arms = [{ arm: 'champion' as const, version, shareBp: 10_000 }]
  await writeRoute(store, {
    route: { model, salt: 's', arms, proven: baseline },
    replaces: { epoch: 1, generation: 0 },
  })
  await store.transaction((database) => concludeRelease(database, end(state, 1, 'rolled_back', 'not wanted')))
  expect(await findRelease(store, state.id)).toMatchObject({ outcome: 'rolled_back' })
  expect((await findChampion(store, model))?.version).toBe(baseline)
  expect((await findRouting(store, model))?.route).toMatchObject({
    generation: 2,
    arms: [{ arm: 'champion', version: baseline, shareBp: 10_000 }],
  })
})

it('a rollback without a target names the open release whose candidate no caller gets', async () => {
  const model = uniqueName('model')
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  const baseline = await registry.register()
  const version = await registry.register(baseline)
  await moveChampion(store, { model, actor: 'a', reason: 'r', cause: 'promotion', to: baseline })
  const arms = [{ arm: 'champion' as const, version: baseline, shareBp: 10_000 }]
  await writeRoute(store, {
    route: { model, salt: 's', arms, proven: baseline },
    replaces: { epoch: 1, generation: 0 },
  })
  const order = { model, by: 'olga', reason: 'callers complain' }
  const refusal = async () => {
    const { refusal: planned } = await findRollbackPlan(store, model, () => Promise.resolve(undefined))
    const given = await store.transaction((database) => rollBackChampion(database, order, new Map()))
    expect(given).toMatchObject({ code: 'no_rollback_target', message: planned })
    return planned
  }
  const alone = `${baseline} is the only known good version of ${model}, so no rollback target exists`
  expect(await refusal()).toBe(alone)
  const state = openingState({ ...firstFacts, id: `rel_${uniqueName('r')}`, model, version, baseline }, 0)
  await insertRelease(store, { state, workflowId: 'w', runId: 'r' })
  expect(await refusal()).toBe(
    `${alone}; no caller gets ${version} of its open release: end it with \`tenure abort ${state.id}\``,
  )
})

it('a release whose route another writer has changed ends as rolled back when a user has rolled it back since', async () => {
  const model = uniqueName('model')
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  const baseline = await registry.register()
  const version = await registry.register(baseline)
  await moveChampion(store, { model, actor: 'a', reason: 'r', cause: 'promotion', to: baseline })
  const facts = { ...firstFacts, id: `rel_${uniqueName('r')}`, model, version, baseline } as const
  const state = openingState(facts, 0)
  await insertRelease(store, { state, workflowId: 'w', runId: 'r' })
  const arms = [{ arm: 'champion' as const, version: baseline, shareBp: 10_000 }]
  await writeRoute(store, {
    route: { model, salt: 's', arms, proven: baseline },
    replaces: { epoch: 1, generation: 0 },
  })
  // As after a step that found the route of another writer, and before its end is recorded.
  const superseded = end(state, 1, 'superseded', 'another writer has changed the routing')
  await saveRelease(store, superseded)
  const order = { model, version, by: 'olga', reason: 'callers complain' }
  const command = {
    id: releaseCommandIdOf('key', { kind: 'rollback', once: 'order' }),
    keyId: 'key',
    role: 'operator',
  } as const
  expect(
    await store.transaction((database) => rollBackServing(database, { ...order, command }, new Map())),
  ).toMatchObject({ from: version })
  const { state: rollingBack } = (await findRelease(store, state.id))!
  const rollbackResult = { champion: baseline, wasChampion: false, orderedMs: 2, acknowledgedMs: 3 }
  const report = { kind: 'rolled_back' as const, problems: [], rollbackResult }
  const rolledBack = await store.transaction((database) => applyReport(database, rollingBack, report))
  const recorded = { outcome: 'rolled_back', reason: 'rolled back by olga: callers complain' }
  // The second attempt has lost the response of the first.
  for (const _attempt of [1, 2])
    expect(await store.transaction((database) => concludeRelease(database, rolledBack))).toMatchObject(
      recorded,
    )
  expect(await findRelease(store, state.id)).toMatchObject(recorded)
  expect((await findVersion(store, version))?.rolledBackAt).toBeDefined()
  // A user has ordered it, so it is no emergency.
  expect(await listAlerts(store, { model, open: true })).toMatchObject([
    { kind: 'release_rolled_back', severity: 'warning' },
  ])
})

it.each([
  ['reject', true, 'warning'],
  ['abort', true, 'warning'],
  ['rollback', true, 'warning'],
  ['abort', false, 'critical'],
  ['approve', true, 'critical'],
] as const)(
  'a rollback after the command %s, accepted: %s, raises a %s alert',
  async (command, accepted, severity) => {
    const model = uniqueName('model')
    const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
    const version = await registry.register()
    const id = `rel_${uniqueName('r')}` as const
    const state = openingState({ ...firstFacts, id, model, version }, 0)
    await insertRelease(store, { state, workflowId: 'w', runId: 'r' })
    await insertAnswered(store, { release: id, model, kind: command, by: 'ben', accepted })
    await store.transaction((database) =>
      concludeRelease(database, end(state, 1, 'rolled_back', 'not wanted')),
    )
    expect(await listAlerts(store, { model, open: true })).toMatchObject([
      { kind: 'release_rolled_back', severity },
    ])
  },
)

it.each(['its rollback', 'its end'])(
  'a version whose champion was moved by hand is not named as proven after %s in a restored backup',
  async (step) => {
    const model = uniqueName('model')
    const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
    const [older, version] = [await registry.register(), await registry.register()]
    await moveChampion(store, { model, actor: 'a', reason: 'r', cause: 'promotion', to: older })
    const opened = openingState({ ...firstFacts, id: `rel_${uniqueName('r')}`, model, version }, 0)
    await insertRelease(store, { state: opened, workflowId: 'w', runId: 'r' })
    const arms = [{ arm: 'champion' as const, version: older, shareBp: 10_000 }]
    await writeRoute(store, {
      route: { model, salt: 's', arms, proven: version },
      replaces: { epoch: 1, generation: 0 },
    })
    const state = end(opened, 1, 'aborted', 'not wanted')
    const finish = step === 'its end' ? concludeRelease : returnToBaseline
    await store.transaction<unknown>((database) => finish(database, state))
    expect((await findRouting(store, model))?.route).toMatchObject({ generation: 2, arms, proven: older })
  },
)

it('a release that is ended without its workflow ends from what another writer has stored in the meantime', async () => {
  const model = uniqueName('model')
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  const version = await registry.register()
  const state = openingState({ ...firstFacts, id: `rel_${uniqueName('r')}`, model, version }, 0)
  await insertRelease(store, { state, workflowId: 'w', runId: 'r' })
  let ending: Promise<void> | undefined
  await store.transaction(async (database) => {
    await lockRelease(database, state.id)
    ending = store.transaction((other) => endInterrupted(other, state.id))
    const isWaiting = async () =>
      (
        await database.query<{ waiting: boolean }>(sql`
          select exists (select from pg_locks where locktype = 'transactionid' and not granted) as waiting`)
      )[0]?.waiting
    await expect.poll(isWaiting).toBe(true)
    await saveRelease(database, { ...state, revision: 7 })
  })
  await ending
  expect((await findRelease(store, state.id))?.state).toMatchObject({
    closed: true,
    outcome: 'failed',
    revision: 8,
  })
})

it('a replica without a lease may serve a candidate that an earlier route names as proven', async () => {
  const model = uniqueName('model')
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  const baseline = await registry.register()
  const version = await registry.register(baseline)
  const facts = { ...firstFacts, id: `rel_${uniqueName('r')}`, model, version } as const
  const now = { epoch: 1, generation: 9 }
  const routings = [{ stage: 'canary', stageIndex: 0, generation: 5, shareBp: 100, startedMs: 0 }] as const
  const state = { ...openingState({ ...facts, baseline }, 0), epoch: 1, routings: [...routings] }
  expect(await findUnfencedBefore(store, openingState(facts, 0), now)).toEqual(now)
  expect(await findUnfencedBefore(store, state, now)).toBeUndefined()
  await markKnownGood(store, version)
  expect(await findUnfencedBefore(store, state, now)).toEqual({ epoch: 1, generation: 5 })
  expect(await findUnfencedBefore(store, { ...state, routings: [] }, now)).toEqual(now)
})
