/** Tests the disk cache of a replica: starts without Postgres, and refusals after each kind of damage. */
import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql, { type Sql } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DomainError } from '../../../../domain/errors.ts'
import { issuesOf } from '../../../../api/routes/health.ts'
import type { ApiDeps } from '../../../../api/deps.ts'
import { openArtifacts } from '../../../../store/artifacts.ts'
import type { Store } from '../../../../store/postgres.ts'
import { readRouting } from '../../../../store/serving/routing.ts'
import { listReplicaProgress } from '../../../../store/serving/replicas.ts'
import {
  openServingFixture,
  request,
  replicaOfTest,
  threeVersions,
  until,
} from '../../../support/serving/serving-fixture.ts'
import { rotateSigningKey } from '../../../../store/signing/rotate-signing-key.ts'
import { keyPlacesIn, keyPlacesOf } from '../../../support/serving/sign-versions.ts'
import { irisRow } from '../../../support/serving/artifact.ts'
import type { ServingFixture, ReplicaOptions, TestReplica } from '../../../support/serving/serving-fixture.ts'

const nowhere = 'postgres://unknown@127.0.0.1:1/nothing'
let fixture: ServingFixture
let root: string
beforeAll(async () => {
  fixture = await openServingFixture()
  root = mkdtempSync(join(tmpdir(), 'tenure-remembered-'))
})
afterAll(async () => {
  await fixture.close()
  rmSync(root, { recursive: true })
})

const replicaOf = (options?: ReplicaOptions) => replicaOfTest(fixture, options)
/** Starts a replica, lets it follow a route, stops it, and returns its state directory. */
async function remembered(options: ReplicaOptions = {}) {
  const { model, old, champion } = await threeVersions(fixture)
  const replica = await replicaOf(options)
  await replica.follows(await fixture.route(model, { proven: champion }))
  await replica.serving.refresh()
  const { stateDir } = replica
  await replica.stop()
  const file = (slot = '1') => join(stateDir, 'cache', `routing-${slot}.signed`)
  return { model, old, champion, stateDir, file }
}
const cold = (stateDir: string, options: ReplicaOptions = {}) =>
  replicaOf({ stateDir, databaseUrl: nowhere, ...options })
/** Starts a replica while a statement is held, and reports whether the replica serves in the meantime. */
async function startHeld(stateDir: string, around: (store: Store, hold: () => Promise<void>) => Store) {
  let [arrived, letPass] = [() => {}, () => {}]
  const arrival = new Promise<void>((resolve) => (arrived = resolve))
  const held = new Promise<void>((resolve) => (letPass = resolve))
  const hold = () => {
    arrived()
    return held
  }
  let serves = false
  const starting = replicaOf({ stateDir, around: (store) => around(store, hold) }).then(
    (replica) => ((serves = true), replica),
  )
  await arrival
  await fixture.store.query(sql`select 1`)
  const servedWhileHeld = serves
  letPass()
  return { replica: await starting, servedWhileHeld }
}
const readiness = ({ serving }: TestReplica) =>
  issuesOf({
    serving,
    authentication: { isReady: () => true },
    stopping: () => undefined,
  } as unknown as ApiDeps).join()
const expectNothingBelieved = async (replica: TestReplica, model: string, why: RegExp) => {
  expect(() => replica.ask(model, request())).toThrow(expect.objectContaining({ code: 'not_ready' }))
  expect(replica.troubles.join()).toMatch(why)
  expect(readiness(replica)).toMatch(/the routes are not loaded yet: /)
  expect(readiness(replica)).toMatch(why)
}

describe('the disk cache of routes', () => {
  it('serves after a start without Postgres', async () => {
    const { model, champion, stateDir } = await remembered()
    const replica = await cold(stateDir)
    expect(replica.ask(model, request())).toMatchObject({ version: champion, stale: true })
    expect(readiness(replica)).toBe('')
  })

  it('serves when Postgres has neither answered nor refused for the time of a start', async () => {
    const { model, champion, stateDir } = await remembered()
    const silent = () => Promise.reject(new DomainError('postgres_unavailable', 'timeout'))
    const replica = await replicaOf({
      stateDir,
      startMs: 100,
      around: (store) => ({ ...store, query: silent }),
    })
    expect(replica.ask(model, request())).toMatchObject({ version: champion, stale: true })
  })

  it('is used once the replica has a lease, so that a rollback waits for it', async () => {
    const { model, stateDir } = await remembered()
    let attempts = 0
    const { replica, servedWhileHeld } = await startHeld(stateDir, (store, hold) => ({
      ...store,
      async query<T extends object>(statement: Sql) {
        if (statement.text.includes('insert into replicas')) {
          // A missed deadline does not mean that Postgres is away.
          if (attempts++ === 0)
            throw new DomainError('postgres_unavailable', 'Postgres did not answer: timeout')
          await hold()
        }
        return store.query<T>(statement)
      },
    }))
    expect(servedWhileHeld).toBe(false)
    expect((await listReplicaProgress(fixture.store, model)).map(({ id }) => id)).toContain(replica.id)
  })

  it('has a route before it is acknowledged', async () => {
    const { model, old, champion } = await threeVersions(fixture)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(model, { proven: champion, standby: old }))
    await replica.serving.refresh()
    const { store, stateDir } = replica
    const { query } = store
    const killedThen = join(root, 'killed-then')
    // The disk of a replica that was killed when Postgres had the acknowledgement.
    store.query = async <T extends object>(statement: Sql) => {
      const done = await query<T>(statement)
      if (/into routing_acknowledgements/.test(statement.sql))
        cpSync(stateDir, killedThen, { recursive: true })
      return done
    }
    await replica.follows(await fixture.route(model, { proven: old }))
    await replica.serving.refresh()
    expect((await cold(killedThen)).ask(model, request()).version).toBe(old)
  })

  it('does not serve a route that was replaced before Postgres knew the replica', async () => {
    const { model, old, stateDir } = await remembered()
    let isKnown = false
    const { replica, servedWhileHeld } = await startHeld(stateDir, (store, hold) => ({
      ...store,
      async query<T extends object>(statement: Sql) {
        const isFirst = !isKnown && statement.text.includes('insert into replicas')
        // The routes of its disk have been read earlier, and no rollback waits for it yet.
        if (isFirst) await fixture.route(model, { proven: old })
        if (isKnown && statement.text.includes('routing_epochs) as epoch')) await hold()
        const rows = await store.query<T>(statement)
        isKnown ||= isFirst
        return rows
      },
    }))
    expect(servedWhileHeld).toBe(false)
    expect(replica.ask(model, request()).version).toBe(old)
  })

  it('serves the other models when a version of one cannot be fetched', async () => {
    const { model, champion, stateDir } = await remembered()
    const other = await threeVersions(fixture)
    await fixture.route(other.model, { proven: other.champion })
    let letFail = (): void => {}
    const held = new Promise<never>((_, reject) => (letFail = () => reject(new Error('cut'))))
    const artifacts = { ...openArtifacts(fixture.artifactRoot), get: () => held }
    const replica = await replicaOf({ stateDir, artifacts, startMs: 200 })
    expect(replica.ask(model, request()).version).toBe(champion)
    letFail()
    await fixture.store.query(sql`delete from routing where model = ${other.model}`)
  })

  it.each<[string, (path: string) => void]>([
    ['a changed byte', (path) => writeFileSync(path, readFileSync(path, 'utf8').replace('10000', '10001'))],
    [
      'a changed signature',
      (path) =>
        writeFileSync(
          path,
          readFileSync(path, 'utf8').replace(/^./, (sign) => (sign === 'A' ? 'B' : 'A')),
        ),
    ],
    ['a truncated file', (path) => truncateSync(path, readFileSync(path).byteLength - 20)],
    ['a file without a body', (path) => truncateSync(path, 40)],
    ['an empty file', (path) => truncateSync(path, 0)],
    ['something appended', (path) => appendFileSync(path, ' ')],
  ])('is refused completely for %s', async (_name, damage) => {
    const { model, stateDir, file } = await remembered()
    damage(file())
    await expectNothingBelieved(await cold(stateDir), model, /does not have this installation's signature/)
  })

  it('is refused with a signature of another key', async () => {
    const { model, stateDir } = await remembered()
    const replica = await cold(stateDir, { keys: keyPlacesIn(join(root, 'another')) })
    await expectNothingBelieved(replica, model, /does not have this installation's signature/)
  })

  it('outlives the rotation of the key that signs it where a replica runs, and ends with the overlap elsewhere', async () => {
    const keys = keyPlacesIn(join(root, 'rotated'))
    // The same version keys, which the first version creates.
    await threeVersions(fixture)
    cpSync(keyPlacesOf(fixture.artifactRoot).trust, keys.trust, { recursive: true })
    const ended = await remembered({ keys })
    const running = await replicaOf({ keys })
    const { model, champion } = ended
    await running.follows(await fixture.route(model, { proven: champion }))
    await running.serving.refresh()
    const file = join(running.stateDir, 'cache', 'routing-1.signed')
    const before = readFileSync(file, 'utf8')
    await rotateSigningKey(keys, 'replicas', { overlapMs: 0 })
    await until(async () => {
      await running.serving.refresh()
      return readFileSync(file, 'utf8') !== before
    }, 'the routes to be signed again')
    const replica = await cold(running.stateDir, { keys })
    expect(replica.ask(model, request())).toMatchObject({ version: champion, stale: true })
    await expectNothingBelieved(
      await cold(ended.stateDir, { keys }),
      model,
      /does not have this installation's signature/,
    )
  })

  it('is missing on a wiped disk, and /readyz reports it', async () => {
    const { model } = await remembered()
    const replica = await cold(fixture.directory())
    expect(() => replica.ask(model, request())).toThrow(expect.objectContaining({ code: 'not_ready' }))
    expect(readiness(replica)).toMatch(/the routes are not loaded yet: there is no snapshot in/)
    // Every first start is like that, so the log does not warn.
    expect(replica.troubles.join()).not.toMatch(/snapshot/)
  })

  it('is not used in part when the artifact of its version is missing or changed', async () => {
    const { model, stateDir } = await remembered()
    const files = join(stateDir, 'cache', 'files')
    for (const name of readdirSync(files, { recursive: true, withFileTypes: true }))
      if (name.isFile()) truncateSync(join(name.parentPath, name.name), 10)
    const elsewhere = { ...fixture, artifactRoot: join(root, 'empty') }
    const replica = await replicaOfTest(elsewhere, {
      stateDir,
      databaseUrl: nowhere,
      keys: keyPlacesOf(fixture.artifactRoot),
    })
    expect(() => replica.ask(model, request())).toThrow(expect.objectContaining({ code: 'not_ready' }))
    expect(readiness(replica)).toMatch(new RegExp(`can serve no version of ${model}`))
  })

  it('has the newest route of each model, and all fields of requests, when several processes share a disk', async () => {
    const { model, champion, stateDir, file } = await remembered({ slot: '1' })
    await fixture.store.query(sql`
      update models set definition = jsonb_set(definition, '{features,colour}', '{"kind": "category"}'), synced_at = now()
      where name = ${model}`)
    const coloured = { instances: [{ ...irisRow, colour: 'red' }] }
    const second = await replicaOf({ stateDir, slot: '2' })
    const route = await fixture.route(model, { proven: champion })
    await second.follows(route)
    await second.serving.refresh()
    await second.stop()
    const replica = await cold(stateDir, { slot: '1' })
    expect(replica.ask(model, request()).generation).toBe(route.generation)
    expect(replica.ask(model, coloured).generation).toBe(route.generation)
    // A damaged file does not affect the other.
    truncateSync(file('2'), 10)
    const later = await cold(stateDir, { slot: '3' })
    expect(later.ask(model, request()).generation).toBe(route.generation - 1)
    expect(() => later.ask(model, coloured)).toThrow(expect.objectContaining({ code: 'unknown_feature' }))
    expect(later.troubles.join()).toMatch(/routing-2.signed is rejected/)
  })
})

describe('a version is refused', () => {
  it.each([
    [
      'has no signature',
      (version: string) => sql`update versions set signature = null where version = ${version}`,
    ],
    [
      'that carries the signature of another version',
      (version: string) => sql`
        update versions set signature = (select signature from versions where version <> ${version} limit 1)
        where version = ${version}`,
    ],
    [
      'whose manifest is another than was signed',
      (version: string) => sql`
        update versions set artifact_digest = (
          select artifact_digest from versions where version <> ${version} and model = split_part(${version}, '_v', 1) limit 1)
        where version = ${version}`,
    ],
  ])('that %s, and the replica that refuses it is named', async (_name, forge) => {
    const { model, champion, candidate, canary } = await threeVersions(fixture)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(model, { proven: champion }))
    await fixture.store.query(forge(candidate))
    const route = await fixture.route(model, canary(10_000), 60_000)
    const followers = () => listReplicaProgress(fixture.store, model)
    await until(async () => (await followers()).some(({ problem }) => problem !== undefined), 'the refusal')
    expect((await followers()).map(({ problem }) => problem)).toEqual([
      expect.stringMatching(/has no signature|no key of this installation has made the signature/),
    ])
    expect(replica.ask(model, request())).toMatchObject({
      version: champion,
      generation: route.generation - 1,
    })
  })
})

it('a route that a restored database does not have is neither followed nor stored, and that is acknowledged', async () => {
  const { model, champion } = await threeVersions(fixture)
  const replica = await replicaOf()
  const route = await fixture.route(model, { proven: champion })
  await replica.follows(route)
  const { routing, now } = replica.serving
  const read = await readRouting(fixture.store)
  const without = { ...read, rows: read.rows.filter((row) => row.model !== model) }
  const ownAcknowledgements = () => routing.acknowledgements().filter((each) => each.model === model)
  await routing.take(without, now())
  expect(replica.ask(model, request()).version).toBe(champion)
  await routing.take({ ...without, epoch: route.epoch + 1 }, now())
  expect(routing.find(model)).toBeUndefined()
  expect(ownAcknowledgements()).toMatchObject([{ epoch: route.epoch + 1, generation: 0 }])
  expect(routing.remembered().routes).not.toContainEqual(expect.objectContaining({ model }))
})
