/** Tests the durable log while Postgres is killed and frozen: every acknowledged row is in the table exactly once. */
import { randomUUID } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createClock } from '../../../../api/serving/clock.ts'
import {
  openDurableLog,
  type DurableLog,
  type DurableLogOptions,
} from '../../../../api/serving/log/durable-log.ts'
import { createIds } from '../../../../api/serving/prediction-ids.ts'
import { startPostgres, type RunningPostgres } from '../../../../cli/embedded/postgres.ts'
import { openStore, type Store } from '../../../../store/postgres.ts'
import { encodeOrigin, type PredictionRecord } from '../../../../store/serving/prediction-log.ts'
import { irisRow, irisSpec, notCompiled } from '../../../support/serving/artifact.ts'
import { freeze } from '../../../support/servers/freeze.ts'
import { placePostgres } from '../../../support/servers/own-servers.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import {
  askLater,
  servingFixtureOn,
  startApi,
  replicaOfTest,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../../support/serving/serving-fixture.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-durable-'))
chmodSync(root, 0o711)
let postgres: RunningPostgres
let store: Store
let fixture: ServingFixture
const open: DurableLog[] = []
const ids = createIds(createClock())
const origin = encodeOrigin({ model: 'm', version: 'v', arm: 'champion', release: undefined, generation: 1 })
const numbers = new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer)

beforeAll(async () => {
  await placePostgres(join(root, 'postgres'))
  postgres = await startPostgres({ dataDir: join(root, 'postgres') })
  store = openStore(postgres.url, { connectMs: 500, queryMs: 1_000 })
  fixture = servingFixtureOn({ databaseUrl: postgres.url })
})
afterEach(async () => {
  for (const log of open.splice(0)) await log.close()
})
afterAll(async () => {
  await fixture.close()
  await store.close()
  await postgres.stop()
  rmSync(root, { recursive: true })
})

function logOf(options: Partial<DurableLogOptions> = {}) {
  const troubles: string[] = []
  const log = openDurableLog({ store, onError: (what) => troubles.push(what), ...options })
  open.push(log)
  return { log, troubles }
}

function recordOf(change: Partial<PredictionRecord> = {}): PredictionRecord {
  ids.next()
  return {
    id: Uint8Array.from(ids.bytes),
    atMs: Date.now(),
    routingKey: 'key',
    instances: 1,
    numbers,
    numberBytes: numbers.byteLength,
    texts: numbers,
    textBytes: 0,
    outputs: Float32Array.of(0.5),
    outputCount: 1,
    latencyUs: 5,
    keyId: '0123456789ab',
    reference: undefined,
    ...change,
  }
}
const hexOf = (id: Uint8Array): string => Buffer.from(id).toString('hex')
const unavailable = { code: 'prediction_log_unavailable' }

/** Returns how often each id is in the table. */
async function stored(): Promise<Map<string, number>> {
  const { rows } = await store.pool.query<{ id: string; count: number }>(
    `select encode(uuid_send(id), 'hex') as id, count(*) from predictions group by id`,
  )
  return new Map(rows.map(({ id, count }) => [id, count]))
}
const kill = (): void => void process.kill(-postgres.pid, 'SIGKILL')
const revive = async (): Promise<void> => {
  postgres = await startPostgres({ dataDir: join(root, 'postgres'), port: postgres.port })
}
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('the durable log', () => {
  it('stores every acknowledged row exactly once while Postgres is killed and frozen', async () => {
    const { log, troubles } = logOf({ maxWaitMs: 400 })
    const acknowledged = new Set<string>()
    let refused = 0
    let going = true
    const callers = Array.from({ length: 30 }, async (_, i) => {
      while (going) {
        const record = recordOf()
        await log.append(origin, record, i % 3 === 0).then(
          () => acknowledged.add(hexOf(record.id)),
          (error: { code: string }) => {
            expect(error).toMatchObject(unavailable)
            refused++
          },
        )
        await pause(2)
      }
    })
    for (let round = 0; round < 3; round++) {
      const before = acknowledged.size
      await until(() => acknowledged.size > before + 100, 'commits')
      if (round === 1) {
        const thaw = freeze(postgres.pid)
        const had = refused
        await until(() => refused > had, 'a refusal')
        thaw()
      } else {
        kill()
        const had = refused
        await until(() => refused > had, 'a refusal')
        await revive()
      }
    }
    const before = acknowledged.size
    await until(() => acknowledged.size > before + 100, 'the last commits')
    going = false
    await Promise.all(callers)
    const rows = await stored()
    expect([...acknowledged].filter((id) => rows.get(id) !== 1)).toEqual([])
    expect([...rows.values()].filter((count) => count !== 1)).toEqual([])
    expect(log.counts()).toMatchObject({ refused, waiting: 0 })
    expect(log.counts().commits).toBeLessThan(acknowledged.size)
    expect(troubles).toContain('the prediction log is available again')
  })

  it('refuses a row after the maximum wait', async () => {
    const { log } = logOf({ maxWaitMs: 200 })
    const thaw = freeze(postgres.pid)
    try {
      const began = performance.now()
      await expect(log.append(origin, recordOf(), false)).rejects.toMatchObject(unavailable)
      expect(performance.now() - began).toBeGreaterThan(190)
      expect(log.counts()).toMatchObject({ stored: 0, refused: 1, waiting: 0 })
    } finally {
      thaw()
    }
  })

  it('refuses a row at once when the memory limit is reached', async () => {
    const { log } = logOf({ maxBytes: 300 })
    const first = log.append(origin, recordOf(), false)
    await expect(log.append(origin, recordOf(), false)).rejects.toMatchObject(unavailable)
    await first
    expect(log.counts()).toMatchObject({ stored: 1, refused: 1 })
  })

  it('refuses the one row that Postgres cannot store, and stores the others', async () => {
    const { log } = logOf()
    const records = [recordOf(), recordOf({ routingKey: 'a\0b' }), recordOf()]
    const outcomes = await Promise.allSettled(records.map((record) => log.append(origin, record, false)))
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    const rows = await stored()
    expect(records.map(({ id }) => rows.get(hexOf(id)))).toEqual([1, undefined, 1])
  })

  it('stores a repeated request once, however many replicas receive it concurrently', async () => {
    const logs = [logOf().log, logOf().log, logOf().log]
    const named = Array.from({ length: 20 }, () => recordOf())
    const outcomes = await Promise.all(
      named.flatMap((record, i) =>
        logs.flatMap((log, replica) =>
          [0, 1].map((again) =>
            log.append(
              origin,
              // Each at another moment, as real repetitions are.
              {
                ...record,
                atMs: record.atMs + replica * 7 + again,
                outputs: Float32Array.of(i, replica, again),
                outputCount: 3,
              },
              true,
            ),
          ),
        ),
      ),
    )
    const rows = await stored()
    expect(named.map(({ id }) => rows.get(hexOf(id)))).toEqual(named.map(() => 1))
    const first = outcomes.filter((outcome) => outcome === undefined)
    expect(first).toHaveLength(20)
    // All repetitions of a request get the same response.
    for (let i = 0; i < 20; i++) {
      const told = outcomes
        .slice(i * 6, i * 6 + 6)
        .flatMap((outcome) => (outcome ? [outcome.outputs.join()] : []))
      expect(new Set(told).size).toBe(1)
    }
  })

  it('finds a request that was stored days ahead, by a replica with a wrong clock', async () => {
    const { log } = logOf()
    const record = recordOf()
    const ahead = { ...record, atMs: record.atMs + 3 * 86_400_000 }
    expect(await log.append(origin, ahead, true)).toBeUndefined()
    expect(await log.append(origin, record, true)).toMatchObject({ instances: record.instances })
    expect((await stored()).get(hexOf(record.id))).toBe(1)
  })
})

describe('a replica with a durable log', () => {
  const replicaOf = () => replicaOfTest(fixture, { durableLog: true, leaseMs: 60_000 })
  const body = { instances: [irisRow, irisRow], routing_key: 'k', reference: 'A-7 ä' }
  const rowsOf = async (id: string) =>
    (await store.pool.query('select * from predictions where id = $1', [id])).rows
  const totalOf = ({ serving }: TestReplica, of: string) =>
    [...serving.counters.totals()]
      .filter(({ version }) => version === of)
      .reduce((sum, { answered, errors, invalid }) => sum + answered + errors + invalid, 0)

  it.each([
    ['compiled', irisSpec],
    ['not compiled', (model: string) => notCompiled(irisSpec(model))],
  ])('responds after the row of a %s model is stored, and counts it then', async (_name, specOf) => {
    const spec = specOf(uniqueName('iris'))
    const version = await fixture.register(spec)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(spec.model, { proven: version }))
    const answer = await askLater(replica, spec.model, body)
    const [row] = await rowsOf(answer.predictions[0]!.id)
    expect(row).toMatchObject({
      model: spec.model,
      version,
      instances: 2,
      routing_key: 'k',
      reference: 'A-7 ä',
    })
    expect(totalOf(replica, version)).toBe(1)
    expect(replica.serving.durable!.counts()).toMatchObject({ stored: 1, refused: 0 })
    expect(replica.serving.log.counts().served).toBe(0)
  })

  it('refuses while Postgres is frozen, counts none of these requests, and continues afterwards', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const version = await fixture.register(spec)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(spec.model, { proven: version }))
    const thaw = freeze(postgres.pid)
    try {
      await expect(askLater(replica, spec.model, body)).rejects.toMatchObject(unavailable)
      await expect(askLater(replica, spec.model, body, { withinMs: 30 })).rejects.toMatchObject({
        code: 'deadline_exceeded',
      })
    } finally {
      thaw()
    }
    expect(totalOf(replica, version)).toBe(0)
    await until(
      () =>
        askLater(replica, spec.model, body).then(
          () => true,
          () => false,
        ),
      'an answer',
    )
    expect(totalOf(replica, version)).toBe(1)
  })

  it('is not ready during the outage, and ready again without a request', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const version = await fixture.register(spec)
    const api = await startApi(fixture, { durableLog: true, leaseMs: 60_000 })
    onTestFinished(() => api.stop())
    await api.follows(await fixture.route(spec.model, { proven: version }))
    const readiness = async () => (await api.request('GET', '/readyz')).status
    expect(await readiness()).toBe(200)
    const thaw = freeze(postgres.pid)
    try {
      await expect(askLater(api, spec.model, body)).rejects.toMatchObject(unavailable)
      await expect.poll(readiness).toBe(503)
    } finally {
      thaw()
    }
    await expect.poll(readiness).toBe(200)
  })

  it('repeats the first response, on another replica and after another release', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const versions = [
      await fixture.register(spec),
      await fixture.register(irisSpec(spec.model, 9), 1),
    ] as const
    const [one, two] = [await replicaOf(), await replicaOf()]
    const route = await fixture.route(spec.model, { proven: versions[0] })
    for (const replica of [one, two]) await replica.follows(route)
    const requestId = randomUUID()
    const first = await askLater(one, spec.model, body, { requestId })
    await two.follows(await fixture.route(spec.model, { proven: versions[1] }))
    const again = await askLater(two, spec.model, body, { requestId })
    expect(again).toEqual(first)
    expect(first.predictions[0]!.id).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{8}0000$/,
    )
    expect(await rowsOf(first.predictions[0]!.id)).toMatchObject([{ reference: 'A-7 ä' }])
    expect(totalOf(two, versions[0]) + totalOf(two, versions[1])).toBe(0)
    const other = { instances: [{ ...irisRow, petalWidth: 9 }] }
    await expect(askLater(two, spec.model, other, { requestId })).rejects.toThrow(
      /another request had the same/,
    )
    await expect(askLater(two, spec.model, body, { requestId: 'x' })).rejects.toThrow(/is not a UUID/)
  })

  it('repeats no response for another key that sends the same id', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const replica = await replicaOf()
    await replica.follows(await fixture.route(spec.model, { proven: await fixture.register(spec) }))
    const requestId = randomUUID()
    const first = await askLater(replica, spec.model, body, { requestId, keyId: 'one' })
    const other = { instances: [{ ...irisRow, petalWidth: 9 }] }
    const second = await askLater(replica, spec.model, other, { requestId, keyId: 'two' })
    expect(second.predictions[0]!.id).not.toBe(first.predictions[0]!.id)
    expect(await askLater(replica, spec.model, body, { requestId, keyId: 'one' })).toEqual(first)
    expect(await rowsOf(second.predictions[0]!.id)).toMatchObject([{ key_id: 'two' }])
  })

  it('that is disabled is reported to clients that require it', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const replica = await replicaOfTest(fixture)
    await replica.follows(await fixture.route(spec.model, { proven: await fixture.register(spec) }))
    await expect(askLater(replica, spec.model, body, { requestId: randomUUID() })).rejects.toMatchObject({
      code: 'invalid_request',
    })
  })
})
