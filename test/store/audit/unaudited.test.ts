/**
 * Tests what a thief of the password of `tenure_app` can do to releases and champions, on a running system: each change is possible, and
 * each is named by the verification of the audit log.
 */
import sql, { raw, type Sql } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findUnaudited } from '../../../store/audit/unaudited.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { auditKey, findActiveKeys, insertKey } from '../../../store/access/api-keys.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import type { Store } from '../../../store/postgres.ts'
import {
  openReleaseFixture,
  type FixtureModel,
  type FixtureRelease,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'
import { applicationUrl, openPatientStore, ownServers } from '../../support/servers/servers.ts'

let fixture: ReleaseFixture
let thief: Store
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
  thief = openPatientStore(applicationUrl(fixture.config.databaseUrl), { max: 2 })
})
afterAll(async () => {
  await thief?.close()
  await fixture?.close()
})

const change = async (statement: Sql) => {
  const [user] = await thief.query<{ name: string }>(sql`select current_user as name`)
  expect(user!.name).toBe('tenure_app')
  await thief.query(statement)
}
const found = async (name: string) =>
  (await findUnaudited(fixture.store)).filter((each) => each.includes(name))
/** The keys of the fixture are written without the API. */
const foundBesideKeys = async () =>
  (await findUnaudited(fixture.store)).filter((each) => !each.startsWith('the key '))

/** A champion that was released, and an open release that waits for its approval. */
async function waiting(): Promise<{ model: FixtureModel; champion: string; release: FixtureRelease }> {
  const model = await fixture.model()
  const champion = await model.releasedChampion()
  const release = await model.start(await model.register(champion))
  await release.reaches('awaiting_approval')
  return { model, champion, release }
}

it('a release that takes its way is explained by the log, from its opening to its champion', async () => {
  const { model, release, champion } = await waiting()
  expect(await foundBesideKeys()).toEqual([])
  await release.say('approve', 'anna')
  expect(await foundBesideKeys()).toEqual([])
  expect((await release.result()).outcome).toBe('promoted')
  expect((await findChampion(fixture.store, model.name))?.version).not.toBe(champion)
  expect(await foundBesideKeys()).toEqual([])
})

describe('with the password of the application, a thief', () => {
  it('moves a champion, which the verification names', async () => {
    const { model, release } = await waiting()
    await release.say('reject', 'anna', { reason: 'no' })
    const other = await model.register()
    await change(sql`update champions set version = ${other} where model = ${model.name}`)
    expect((await findChampion(fixture.store, model.name))?.version).toBe(other)
    expect(await found(model.name)).toEqual([
      `the champion ${other} of ${model.name} was moved without an audit row`,
    ])
  })

  it('approves a release in the name of a user, which the verification names although the release acts on it', async () => {
    const { release } = await waiting()
    const anna = (await findActiveKeys(fixture.store)).find(({ name }) => name === 'anna')!
    const id = `cmd_${'a'.repeat(32)}`
    await change(sql`
      insert into commands (id, kind, model, release_id, actor, key_id, role, digests)
      select ${id}, 'approve', model, id, 'anna', ${anna.id}, 'approver', state -> 'digests' from releases
      where id = ${release.id}`)
    await release.handle.signal('approve', { command: id })
    expect((await release.result()).outcome).toBe('promoted')
    expect(await findUnaudited(fixture.store)).toContain(
      `the command ${id} (approve by anna) was recorded without an audit row`,
    )
  })

  it.each([
    [
      'an approval',
      sql`jsonb_set(state, '{approvals}', '[{"by": "anna", "atMs": 1}]')`,
      'counts an approval by anna that no command has given',
    ],
    [
      'a stage past its approval',
      sql`jsonb_set(state, '{stage}', '"canary"')`,
      'is past its approval with 0 of 1 approvals',
    ],
    [
      'a policy without approvals',
      sql`jsonb_set(state, '{policy,approval,approvers}', '0')`,
      'has another policy than it was opened with',
    ],
  ])('writes %s into the state of a release, which the verification names', async (_what, state, issue) => {
    const { release } = await waiting()
    // The control workers must not act on it before it is compared.
    await release.handle.terminate()
    await change(sql`update releases set state = ${state} where id = ${release.id}`)
    expect(await found(release.id)).toEqual([`the release ${release.id} ${issue}`])
  })

  it('opens a release that no start asks for, which the verification names', async () => {
    const { release } = await waiting()
    await release.say('reject', 'anna', { reason: 'no' })
    await release.result()
    const forged = `rel_${'b'.repeat(32)}`
    await change(sql`
      insert into releases (id, model, version, baseline_version, strategy, policy, policy_digest, evaluation_digest, artifact_digest,
        requested_by, workflow_id, run_id, stage, state)
      select ${forged}, model, version, baseline_version, strategy, policy, policy_digest, evaluation_digest, artifact_digest,
        requested_by, workflow_id, 'forged', 'canary', jsonb_set(state, '{id}', ${JSON.stringify(forged)}::jsonb)
      from releases where id = ${release.id}`)
    expect(await found(forged)).toEqual([`the release ${forged} was opened without an audit row`])
  })

  it('adds a key of its own, which the verification names', async () => {
    const { facts } = await insertKey(thief, { name: 'mallory', role: 'admin' })
    expect((await findActiveKeys(fixture.store)).map(({ name }) => name)).toContain('mallory')
    expect(await found('mallory')).toEqual([
      `the key ${facts.id} (mallory, admin) was created without an audit row`,
    ])
    await fixture.store.transaction((database) => auditKey(database, 'key.created', facts))
    expect(await found('mallory')).toEqual([])
  })

  it('reads predictions and outcomes and changes the role of a key, of which the log says nothing', async () => {
    const [{ seq }, before] = [
      (await listAudit(fixture.store, { limit: 1 }))[0]!,
      await findUnaudited(fixture.store),
    ]
    for (const table of ['predictions', 'outcomes']) await change(sql`select * from ${raw(table)} limit 1`)
    await change(sql`update api_keys set role = 'admin' where name = 'olga'`)
    expect((await findActiveKeys(fixture.store)).find(({ name }) => name === 'olga')?.role).toBe('admin')
    expect((await findUnaudited(fixture.store)).length).toBe(before.length)
    expect((await listAudit(fixture.store, { limit: 1 }))[0]!.seq).toBe(seq)
  })
})
