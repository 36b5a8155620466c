/** Tests a replica that stops following in the middle of a stage: the stage does not pass, and the replica is named. */
import { setTimeout as pause } from 'node:timers/promises'
import sql, { type Sql } from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { listDecisions } from '../../../store/release/decisions.ts'
import { acknowledge } from '../../../store/serving/replicas.ts'
import { ownServers } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

const minMs = 1_500
let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})

it('a lagging replica holds the stage by name, and the stage continues when the replica follows again', async () => {
  const { shadow: _shadow, probation: _probation, ...policy } = quickPolicy
  const stages = [{ minMs, minRequests: 20, deadlineMs: 60_000, shareBp: 1_000 }]
  const fixtureModel = await fixture.model({ ...policy, stages })
  const release = await fixtureModel.start(await fixtureModel.register(await fixtureModel.champion()))
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  await expect.poll(async () => (await release.state()).routed).toBe(true)
  const { epoch, generation } = await release.state()
  const place = { replica: 'r2', model: fixtureModel.name, epoch, generation }
  await acknowledge(fixture.store, { ...place, problem: 'there is no such artifact' })

  const watchedMs = async () => {
    const [row] = await fixture.store.query<{ watched_ms: number }>(
      sql`select watched_ms from stage_clocks where release_id = ${release.id}`,
    )
    return row?.watched_ms ?? 0
  }
  await expect.poll(watchedMs).toBeGreaterThan(minMs + 300)
  // The pass that the replica holds back reads the evidence no more often than other verdicts, so that slow reads delay no look.
  const { store } = fixture.deps
  const { query } = store
  const counted = { looks: 0, reads: 0 }
  store.query = async (statement) => {
    const { sql: text } = statement
    if (text.includes('insert into stage_clocks')) counted.looks++
    if (text.includes('from shadow_pairs')) {
      counted.reads++
      await pause(1_000)
    }
    return query(statement)
  }
  await expect.poll(() => counted.looks).toBeGreaterThan(8)
  store.query = query
  expect(counted.reads).toBeLessThan(counted.looks / 2)
  expect(await release.state()).toMatchObject({ stage: 'canary', stageIndex: 0 })
  const [last] = await listDecisions(fixture.store, release.id, 1)
  expect(last?.verdict).toMatchObject({ kind: 'no_data', reasons: [{ code: 'replica_lagging' }, {}] })
  expect(last?.verdict.reasons[0]?.message).toBe(
    'not every replica has acknowledged: replica r2 on test: there is no such artifact',
  )
  await acknowledge(fixture.store, place)
  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
})

it('a stage does not pass on evidence that was not read, when its last replica follows within a look', async () => {
  const { shadow: _shadow, probation: _probation, ...policy } = quickPolicy
  const stages = [{ minMs, minRequests: 20, deadlineMs: 60_000, shareBp: 1_000 }]
  const fixtureModel = await fixture.model({ ...policy, stages })
  const release = await fixtureModel.start(await fixtureModel.register(await fixtureModel.champion()))
  await release.reaches('awaiting_approval')
  // In each look, the first query finds a late replica, and every further one finds none.
  const { store } = fixture.deps
  const { query } = store
  const late = { looks: 0, asked: 0 }
  store.query = async <T extends object>(statement: Sql): Promise<T[]> => {
    const { sql: text } = statement
    if (text.includes('insert into stage_clocks')) Object.assign(late, { looks: late.looks + 1, asked: 0 })
    const rows = await query<T>(statement)
    const isFirst = text.includes('left join routing_acknowledgements') && late.asked++ === 0
    return isFirst && late.looks > 0 ? rows.map((row) => ({ ...row, problem: 'it is late' })) : rows
  }
  try {
    await release.say('approve', 'anna')
    const found = async () => (await listDecisions(fixture.store, release.id, 1))[0]?.verdict.reasons[0]?.code
    await expect.poll(found).toMatch(/^(replica_lagging|stage_passed)$/)
    expect(await found()).toBe('replica_lagging')
  } finally {
    store.query = query
  }
  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
})

it('a replica that never acknowledges a rollback is named in its result', async () => {
  const { shadow: _shadow, probation: _probation, ...policy } = quickPolicy
  const stages = [{ minMs: 60_000, minRequests: 20, deadlineMs: 120_000, shareBp: 1_000 }]
  const watch = { ...policy.watch, acknowledgeMs: 500 }
  const fixtureModel = await fixture.model({ ...policy, stages, watch })
  const release = await fixtureModel.start(await fixtureModel.register(await fixtureModel.champion()))
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  await expect.poll(async () => (await release.state()).routed).toBe(true)
  fixtureModel.traffic.deaf.set('r2', 'the route cannot be read')
  await release.say('rollback', 'ben')
  expect(await release.result()).toMatchObject({ outcome: 'rolled_back' })
  const { rollbackResult } = await release.state()
  expect(rollbackResult?.unacknowledged).toEqual(['replica r2 on test: the route cannot be read'])
})
