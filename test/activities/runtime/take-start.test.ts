/** Tests that the start of a workflow is accepted once, in time, from a permitted key, and for what its user meant. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { takeStart } from '../../../activities/runtime/take-start.ts'
import type { Role, StartType } from '../../../domain/roles.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { insertKey, revokeKey } from '../../../store/access/api-keys.ts'
import { commandIdOf, insertStart, readStartBasis } from '../../../store/commands.ts'
import type { Store } from '../../../store/postgres.ts'
import { readConfig, type Config } from '../../../temporal.config.ts'
import { insertModel, type Registry } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { seatChampion } from '../../support/serving/seed-champion.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'

const model = uniqueName('roses')
let stateDir: string
let config: Config
let store: Store
let registry: Registry
let champion: string
let version: string
/** Key name → the key. */
const keys: Record<string, { id: string; name: string; role: Role }> = {}
beforeAll(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'tenure-starts-'))
  config = readConfig({
    DATABASE_URL: await migratedDatabase(),
    TENURE_STATE: stateDir,
    TENURE_BUILD_ID: 'test',
  })
  store = openPatientStore(config.databaseUrl)
  registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot: config.artifactRoot })
  champion = await registry.register()
  await seatChampion(store, model, champion)
  version = await registry.register(champion)
  const people = { olga: 'operator', anna: 'approver', vera: 'viewer', gone: 'operator' } as const
  for (const [name, role] of Object.entries(people))
    keys[name] = { id: (await insertKey(store, { name, role })).facts.id, name, role }
  const elsewhere = { name: 'elsa', role: 'operator', models: ['another'] } as const
  keys['elsa'] = { id: (await insertKey(store, elsewhere)).facts.id, name: 'elsa', role: 'operator' }
  await revokeKey(store, keys['gone']!.id)
})
afterAll(async () => {
  await store?.close()
  rmSync(stateDir, { recursive: true, force: true })
})

/** Records a start of a release as the API does, and returns the input of its workflow. */
async function start(by = 'olga', kind: StartType = 'release', more: object = {}) {
  const order = commandIdOf(randomUUID())
  const input = { model, version, ...more }
  await store.transaction((database) => insertStart(database, { id: order, kind, by: keys[by]!, input }))
  return order
}

/** Runs the check in a workflow run; resolves when the start is accepted. */
function open(
  order: unknown,
  { subject = model, runId = randomUUID() as string, kind = 'release' as StartType } = {},
) {
  const environment = new MockActivityEnvironment({ workflowExecution: { workflowId: 'any', runId } })
  return environment.run(() => takeStart(store, { kind, order, subject }))
}
const change = (order: string, column: 'until' | 'basis' | 'accepted', value: unknown) =>
  store.query(sql`
    update commands set ${raw(column)} = ${value},
      answered_at = case when ${column === 'accepted'} then clock_timestamp() end
    where id = ${order}`)
const late = () => new Date(Date.now() - 1)

describe('the start of a workflow', () => {
  it('is accepted in its run, as often as the run asks', async () => {
    const order = await start()
    const runId = randomUUID()
    const asked = { model, version, requestedBy: 'olga' }
    expect(await open(order, { runId })).toEqual(asked)
    expect(await open(order, { runId })).toEqual(asked)
  })

  it('is refused without a row', async () => {
    for (const order of [undefined, null, '', 'cmd_none', 1, { toString: 1 }, []])
      await expect(open(order)).rejects.toThrow(/names no order/)
  })

  it('opens one run: a second one with the same row is refused', async () => {
    const given = await start()
    await open(given)
    await expect(open(given)).rejects.toThrow(/has opened another run/)
  })

  it('opens one of twenty runs that ask at once', async () => {
    const given = await start()
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => open(given)))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('is refused when it is late, but not to the run that it has opened in time', async () => {
    const [given, other] = [await start(), await start()]
    const runId = randomUUID()
    await open(given, { runId })
    for (const order of [given, other]) await change(order, 'until', late())
    await expect(open(other)).rejects.toThrow(/more than 15 minutes ago/)
    await open(given, { runId })
    await expect(open(given)).rejects.toThrow(/has opened another run/)
  })

  it('is late a quarter of an hour after its record, and its repetition renews it', async () => {
    const order = await start()
    const [row] = await store.query<{ minutes: number }>(
      sql`select extract(epoch from until - at)::float8 / 60 as minutes from commands where id = ${order}`,
    )
    expect(row!.minutes).toBeCloseTo(15, 2)
    await change(order, 'until', late())
    const input = { model, version }
    await insertStart(store, { id: order, kind: 'release', by: keys['olga']!, input })
    await open(order)
    expect(await listAudit(store, { action: 'command.recorded' })).toContainEqual(
      expect.objectContaining({
        actor: 'olga',
        subject: model,
        detail: { id: order, command: 'release', reason: null },
      }),
    )
  })

  it('is refused when its sender was told that it does not start', async () => {
    const given = await start()
    await change(given, 'accepted', false)
    await expect(open(given)).rejects.toThrow(/was refused/)
  })

  it('is refused when the row is of another kind or model', async () => {
    const order = await start()
    await expect(open(order, { kind: 'retrain' })).rejects.toThrow(/something else/)
    await expect(open(order, { subject: 'tulips' })).rejects.toThrow(/something else/)
    await open(order)
  })

  it('is refused when the champion or the artifact is not the one that its user meant', async () => {
    const now = await readStartBasis(store, { model, version })
    expect(now).toEqual({ champion, artifact: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) as string })
    for (const basis of [
      { ...now, champion: version },
      { ...now, champion: null },
      { ...now, artifact: 'f00' },
      {},
    ]) {
      const given = await start()
      await change(given, 'basis', JSON.stringify(basis))
      await expect(open(given)).rejects.toThrow(/meant \{.*and it is \{.*now; start it again/)
    }
  })

  it('is refused to a key that has ended, or lacks the role, the model or the name', async () => {
    const allowed = /is not allowed to the key/
    for (const by of ['gone', 'vera', 'elsa']) await expect(open(await start(by))).rejects.toThrow(allowed)
    keys['named otherwise'] = { ...keys['olga']!, name: 'anna' }
    await expect(open(await start('named otherwise'))).rejects.toThrow(allowed)
    await expect(open(await start('anna', 'retrain'), { kind: 'retrain' })).rejects.toThrow(allowed)
    const code = { artifact: { file: 'model.tar' } }
    await expect(open(await start('olga', 'retrain', code), { kind: 'retrain' })).rejects.toThrow(allowed)
    expect(
      await store.query(
        sql`select from commands where run_id is not null and actor in ('gone', 'vera', 'elsa', 'anna')`,
      ),
    ).toEqual([])
  })
})
