/** Tests releases, their clocks, commands and champions as rows: repeated, late or concurrent writes change nothing. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { openingState, type ReleaseState } from '../../../domain/release/state.ts'
import { end } from '../../../domain/release/reducer.ts'
import {
  findChampion,
  findRollbackTarget,
  listChampionHistory,
  markKnownGood,
  markVersionRolledBack,
  moveChampion,
  findLiveAt,
} from '../../../store/registry/champions.ts'
import { insertDecision, listDecisions, recordObservation } from '../../../store/release/decisions.ts'
import type { Store } from '../../../store/postgres.ts'
import {
  recordEnd,
  findOpenRelease,
  findReleasable,
  findRelease,
  insertRelease,
  listReleases,
  lockRelease,
  markRolledBack,
  saveRelease,
} from '../../../store/release/releases.ts'
import { routeCompletely } from '../../../store/release/rollback.ts'
import { findRouting, readRouting, writeRoute } from '../../../store/serving/routing.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { firstFacts, releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'

const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-releases-'))
let store: Store
let model: string
let versions: string[]
let state: ReleaseState
const run = { workflowId: 'release/m', runId: 'run' }
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase(), { max: 8 })
})
afterAll(async () => {
  await store?.close()
  rmSync(artifactRoot, { recursive: true })
})
beforeEach(async () => {
  model = uniqueName('model')
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  versions = [await registry.register(), await registry.register(), await registry.register()]
  state = openingState({ ...firstFacts, id: `rel_${uniqueName('r')}`, model, version: versions[0]! }, 0)
  await insertRelease(store, { state, ...run })
})

describe('a release', () => {
  it('is open once per model, and its insertion may be repeated', async () => {
    await insertRelease(store, { state, ...run })
    const other = { ...state, id: `rel_${uniqueName('r')}` as const }
    await expect(insertRelease(store, { state: other, ...run })).rejects.toMatchObject({
      code: 'release_in_progress',
    })
    expect((await findOpenRelease(store, model))?.state).toEqual(state)
    expect(await listReleases(store, { model, open: true })).toHaveLength(1)
    expect(await listReleases(store, { model, open: false })).toEqual([])
  })

  it('is inserted once by concurrent writers', async () => {
    await recordEnd(store, end(state, 1, 'aborted', 'over'))
    const tries = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        insertRelease(store, { state: { ...state, id: `rel_${model}_${i}` }, ...run }),
      ),
    )
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('ends once, and accepts no writes afterwards', async () => {
    expect(await recordEnd(store, end(state, 1, 'aborted', 'over'))).toBe(true)
    expect(await recordEnd(store, end(state, 1, 'promoted', 'again'))).toBe(false)
    await saveRelease(store, { ...state, revision: 99 })
    expect(await findRelease(store, state.id)).toMatchObject({
      outcome: 'aborted',
      reason: 'over',
      state: { outcome: 'aborted', revision: state.revision },
    })
    expect(await findOpenRelease(store, model)).toBeUndefined()
  })

  it('keeps the first time of its rollback', async () => {
    expect(await markRolledBack(store, state.id)).toBe(true)
    const { rolledBackAt } = (await findRelease(store, state.id))!
    expect(await markRolledBack(store, state.id)).toBe(true)
    expect((await findRelease(store, state.id))?.rolledBackAt).toBe(rolledBackAt)
    expect(rolledBackAt).toBeDefined()
  })

  it('is not rolled back after its end', async () => {
    await recordEnd(store, end(state, 1, 'promoted', 'over'))
    expect(await markRolledBack(store, state.id)).toBe(false)
    expect((await findRelease(store, state.id))?.rolledBackAt).toBeUndefined()
  })

  it('is advanced by one transaction at a time', async () => {
    const add = () =>
      store.transaction(async (database) => {
        const { state: now } = (await lockRelease(database, state.id))!
        await saveRelease(database, { ...now, revision: now.revision + 1 })
      })
    await Promise.all(Array.from({ length: 20 }, add))
    expect((await findRelease(store, state.id))?.state.revision).toBe(state.revision + 20)
  })

  it('stores the version that it was compared with', async () => {
    const found = await findReleasable(store, versions[0]!)
    expect(found?.evaluatedAgainst).toBeUndefined()
    expect(found).toMatchObject({
      model,
      withdrawn: false,
      policy: releasePolicy,
    })
    expect(await findReleasable(store, 'none')).toBeUndefined()
  })
})

describe('the clock of a stage', () => {
  const look = (paused = false, maxGapMs = 1_000) =>
    recordObservation(store, { releaseId: state.id, stage: 'canary', stageIndex: 0, paused, maxGapMs })

  it('runs between observations, and a gap counts at most the limit of one observation', async () => {
    expect((await look()).watchedMs).toBe(0)
    await pause(60)
    const { watchedMs } = await look()
    expect(watchedMs).toBeGreaterThanOrEqual(60)
    await pause(80)
    expect((await look(false, 20)).watchedMs).toBeCloseTo(watchedMs + 20, 6)
  })

  it('continues when the clock of the database was set back, and counts nothing for that', async () => {
    await look()
    await pause(30)
    const { watchedMs } = await look()
    await store.query(sql`
      update stage_clocks set observed_at = observed_at + interval '1 hour' where release_id = ${state.id}`)
    const back = await look()
    expect(back.watchedMs).toBe(watchedMs)
    expect(Math.abs(back.observedMs - Date.now())).toBeLessThan(60_000)
    await pause(30)
    // A timer may fire a millisecond early.
    expect((await look()).watchedMs).toBeGreaterThanOrEqual(watchedMs + 29)
  })

  it('pauses with the release, up to the first observation after it', async () => {
    await look()
    await pause(30)
    await look(true)
    await pause(30)
    await look(true)
    await pause(30)
    expect((await look()).watchedMs).toBe(0)
    await pause(30)
    expect((await look()).watchedMs).toBeGreaterThanOrEqual(30)
  })
})

it('decisions are stored in order with their evidence', async () => {
  const verdict = {
    kind: 'inconclusive' as const,
    reasons: [{ code: 'minimum_time', message: 'too early', values: { elapsedMs: 1 } }],
    statistics: { logE: null, share: 0.1 },
    judge: 'canary@1',
  }
  const decision = {
    releaseId: state.id,
    stage: 'canary' as const,
    stageIndex: 1,
    verdict,
    inputs: { ticks: 3 },
    policyDigest: 'p',
  }
  const first = await insertDecision(store, decision)
  await insertDecision(store, { ...decision, verdict: { ...verdict, kind: 'pass' } })
  const found = await listDecisions(store, state.id)
  expect(found.map(({ verdict: { kind } }) => kind)).toEqual(['pass', 'inconclusive'])
  expect(found[1]).toMatchObject({ id: first, ...decision })
  expect(await listDecisions(store, state.id, 1)).toHaveLength(1)
})

describe('the champion', () => {
  const move = (from: string | undefined, to: string, cause: 'promotion' | 'rollback' = 'promotion') =>
    moveChampion(store, {
      model,
      from,
      to,
      cause,
      actor: 'anna',
      reason: 'because',
    })

  it('moves only from its current version, and one of many concurrent writers wins', async () => {
    const [v0, v1, v2] = versions as [string, string, string]
    expect(await move(v0, v1)).toBe(false)
    const firsts = await Promise.all(Array.from({ length: 20 }, () => move(undefined, v0)))
    expect(firsts.filter(Boolean)).toHaveLength(1)
    const moves = await Promise.all(Array.from({ length: 40 }, (_, i) => move(v0, i % 2 === 0 ? v1 : v2)))
    expect(moves.filter(Boolean)).toHaveLength(1)
    expect(await listChampionHistory(store, model)).toHaveLength(2)
    expect(await findChampion(store, model)).toMatchObject({
      version: (await listChampionHistory(store, model))[0]?.version,
    })
  })

  it('is known for any time, with the change that promoted it', async () => {
    const [v0, v1] = versions as [string, string]
    await move(undefined, v0)
    await pause(5)
    const [{ at }] = (await store.query<{ at: Date }>(sql`select clock_timestamp() as at`)) as [{ at: Date }]
    await pause(5)
    await move(v0, v1)
    expect(await findLiveAt(store, { model, at: at.toISOString() })).toMatchObject({ version: v0 })
    expect(await findLiveAt(store, { model, at: '2100-01-01' })).toMatchObject({
      version: v1,
      previousVersion: v0,
    })
    expect(await findLiveAt(store, { model, at: '2000-01-01' })).toBeUndefined()
  })

  it('that a rollback returned to is reported with its own approvers, not with those of the rolled-back version', async () => {
    const [v0, v1] = versions as [string, string]
    const by = async (version: string, name: string) => {
      await store.query(sql`update releases set outcome = 'aborted', ended_at = now() where ended_at is null`)
      const approved: ReleaseState = {
        ...state,
        id: `rel_${version}`,
        version,
        approvals: [{ by: name, atMs: 1 }],
      }
      await insertRelease(store, { state: approved, ...run })
      return approved.id
    }
    const [first, second] = [await by(v0, 'anna'), await by(v1, 'ben')]
    const because = { model, actor: 'test', reason: 'because' }
    await moveChampion(store, { ...because, to: v0, releaseId: first, cause: 'promotion' })
    await moveChampion(store, { ...because, from: v0, to: v1, releaseId: second, cause: 'promotion' })
    const now = { model, at: '2100-01-01T00:00:00Z' }
    expect(await findLiveAt(store, now)).toMatchObject({
      release: { id: second, approvals: [{ by: 'ben' }] },
    })
    expect(await findLiveAt(store, now)).not.toMatchObject({ earnedBy: expect.anything() })
    await moveChampion(store, { ...because, from: v1, to: v0, releaseId: second, cause: 'rollback' })
    expect(await findLiveAt(store, now)).toMatchObject({
      version: v0,
      cause: 'rollback',
      release: { id: second },
      earnedBy: { id: first, version: v0, approvals: [{ by: 'anna' }] },
    })
  })

  it('is rolled back to the last version that is known good and was never rolled back', async () => {
    const [v0, v1, v2] = versions as [string, string, string]
    await move(undefined, v0)
    await move(v0, v1)
    await move(v1, v2)
    const target = () => findRollbackTarget(store, { model, from: v2 })
    expect(await target()).toBeUndefined()
    await markKnownGood(store, v0)
    expect(await target()).toBe(v0)
    await markKnownGood(store, v1)
    expect(await target()).toBe(v1)
    await markVersionRolledBack(store, v1)
    expect(await target()).toBe(v0)
    expect(await findRollbackTarget(store, { model, from: v0 })).toBeUndefined()
  })

  it('returns to the parent of a compressed version, unless that was rolled back', async () => {
    const [v0, v1, v2] = versions as [string, string, string]
    await move(undefined, v0)
    await move(v0, v1)
    await move(v1, v2)
    for (const each of [v0, v1]) await markKnownGood(store, each)
    const lineage = JSON.stringify({ compression: { version: v0 } })
    await store.query(sql`update versions set lineage = lineage || ${lineage} where version = ${v2}`)
    const fallback = JSON.stringify({ fallback: { kind: 'previous' } })
    await store.query(sql`update models set definition = definition || ${fallback} where name = ${model}`)
    /** What a rollback returns to, what stays loaded for it, and what the fallback of the model file serves. */
    const targets = async () => {
      const now = (await findRouting(store, model))?.route
      const route = now && (await routeCompletely(store, { version: v2, now })).route
      const { fallbacks } = await readRouting(store)
      const { previous } = fallbacks.find((each) => each.model === model)!
      return [await findRollbackTarget(store, { model, from: v2 }), route?.standby, previous]
    }
    const arms = [{ arm: 'champion' as const, version: v2, shareBp: 10_000 }]
    await writeRoute(store, {
      route: { model, salt: 's', arms, proven: v2 },
      replaces: { epoch: 0, generation: 0 },
    })
    expect(await targets()).toEqual([v0, v0, v0])
    await markVersionRolledBack(store, v0)
    expect(await targets()).toEqual([v1, v1, v1])
  })
})
