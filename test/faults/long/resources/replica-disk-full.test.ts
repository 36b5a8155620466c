/**
 * Tests a full disk under the state of two replicas, one for each mode of the prediction log: its spool, and the copies of routes and keys.
 * While it is full, Postgres goes away and the replicas are killed. Requires root, for a disk of a few megabytes.
 */
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startAsker, type Asker, type CallerResponse } from '../../../support/fleet/callers.ts'
import { openProxyLine, type ProxyLine } from '../../../support/fleet/proxy.ts'
import {
  openDatabase,
  prepareServing,
  type BenchDatabase,
} from '../../../support/servers/private-database.ts'
import { freePort } from '@tenure/embedded'
import { insertKey, revokeKey } from '../../../../store/access/api-keys.ts'
import { sumAccounts } from '../../../../store/serving/prediction-log.ts'
import { follows, listReplicaProgress } from '../../../../store/serving/replicas.ts'
import { startApiProcess, type ApiProcess } from '../../../support/serving/api-process.ts'
import { irisRow, irisSpec } from '../../../support/serving/artifact.ts'
import { nextRoute, registerFixtureVersion } from '../../../support/serving/registration.ts'
import { mountSmallDisk } from '../../../support/servers/small-disk.ts'
import { reached } from '../../figures.ts'

const disk = mountSmallDisk(8)
const modes = ['best-effort', 'durable'] as const
const [spooling, durable] = [0, 1]

describe.skipIf(disk === undefined)('a full disk under the state of replicas', () => {
  let database: BenchDatabase
  let line: ProxyLine
  let key: string
  let asker: Asker
  const environments: Record<string, string>[] = []
  const replicas: ApiProcess[] = []
  const answers: CallerResponse[] = []

  const start = async (place: number, options?: { awaitReady: boolean }): Promise<void> => {
    replicas[place] = await startApiProcess(environments[place]!, options)
  }
  beforeAll(async () => {
    database = await openDatabase({ onError: () => {} })
    line = await openProxyLine(database.url)
    ;({ key } = await insertKey(database.store, { name: 'root', role: 'admin' }))
    const common = await prepareServing(database, [irisSpec()])
    for (const [place, mode] of modes.entries()) {
      environments.push({
        ...common,
        DATABASE_URL: line.url,
        TENURE_STATE: join(disk!.path, mode),
        TENURE_PREDICTION_LOG: mode,
        TENURE_PORT: String(await freePort()),
        TENURE_REPLICA_LEASE_MS: '2000',
      })
      await start(place)
    }
  })
  afterAll(async () => {
    await asker?.stop()
    line?.heal()
    for (const replica of replicas) await replica.end('SIGKILL')
    line?.close()
    await database?.stop()
    disk?.close()
  })
  afterEach((context) => {
    if (context.task.result?.state !== 'fail') return
    for (const { lines } of replicas)
      process.stderr.write(
        `${lines
          .slice(-40)
          .map((each) => JSON.stringify(each))
          .join('\n')}\n`,
      )
  })

  const poll = (of: () => unknown) => expect.poll(of)
  const ask = (place: number, path: string, as = key) =>
    fetch(`${replicas[place]!.url}${path}`, { headers: { authorization: `Bearer ${as}` } })
  const statusOf = async (place: number, path: string, as = key) => (await ask(place, path, as)).status
  const logOf = async (place: number, series: 'total' | 'rows'): Promise<Record<string, number>> => {
    const text = await (await ask(place, '/metrics')).text()
    const found = text.matchAll(
      new RegExp(`^tenure_prediction_log_${series}\\{state="(\\w+)"\\} (\\d+)$`, 'gm'),
    )
    return Object.fromEntries([...found].map(([, state, value]) => [state, Number(value)]))
  }
  const openAlerts = async (): Promise<number> =>
    (
      await database.store.query(
        sql`select id from alerts where dedupe_key like 'disk_full/state/%' and resolved_at is null`,
      )
    ).length
  const answersSince = (place: number, fromMs: number): CallerResponse[] =>
    answers.filter(({ target, sentMs }) => target === place && sentMs > fromMs)
  const versionsSince = (place: number, fromMs: number): string[] => [
    ...new Set(answersSince(place, fromMs).map(({ version }) => version)),
  ]
  const failuresSince = (place: number, fromMs: number): string[] =>
    asker.failures
      .filter(({ target, sentMs, why }) => target === place && sentMs > fromMs && why !== '503 overloaded')
      .map(({ why }) => why)
  /** How many of the answered requests of a replica are in the log. */
  const storedOf = async (place: number): Promise<number> => {
    const keys = answersSince(place, 0).map(({ routingKey }) => routingKey)
    const [row] = await database.store.query<{ count: number }>(
      sql`select count(*)::int as count from predictions where routing_key = any(${keys})`,
    )
    return row!.count
  }

  it('predictions go on, what has ended stays so after a kill, and every row is stored or counted', async () => {
    const { store, root } = database
    const good = 'iris_v1.0.0'
    const bad = await registerFixtureVersion(store, join(root, 'artifacts'), irisSpec('iris', 2), 1)
    await nextRoute(store, 'iris', { proven: bad })
    asker = startAsker({
      targets: replicas.map(({ url }) => url),
      each: 1,
      model: 'iris',
      row: irisRow,
      pauseMs: 40,
      onAnswer: (answer) => void answers.push(answer),
    })
    const ended = await insertKey(store, { name: 'ended', role: 'viewer' })
    for (const place of modes.keys()) {
      await poll(() => versionsSince(place, 0)).toContain(bad)
      await poll(() => statusOf(place, '/v1/models', ended.key)).toBe(200)
    }

    disk!.fill()
    const fullMs = performance.now()
    await poll(openAlerts).toBe(1)
    const toldMs = performance.now() - fullMs
    const rollback = await nextRoute(store, 'iris', { proven: good })
    await revokeKey(store, ended.facts.id)
    const areFollowing = async () =>
      (await listReplicaProgress(store, 'iris')).map((replica) => follows(replica, rollback))
    await poll(areFollowing).toEqual([true, true])
    const rolledBackMs = performance.now()
    for (const place of modes.keys()) await poll(() => statusOf(place, '/v1/models', ended.key)).toBe(401)
    expect(failuresSince(spooling, 0)).toEqual([])

    line.cut({ requests: true, replies: true })
    const cutMs = performance.now()
    await poll(async () => (await logOf(spooling, 'rows'))['waiting']).toBeGreaterThan(50)
    await poll(() => failuresSince(durable, cutMs)).toContain('503 prediction_log_unavailable')
    await poll(() => statusOf(durable, '/readyz')).toBe(503)
    const ready = await ask(spooling, '/readyz')
    expect([ready.status, await ready.json()]).toMatchObject([200, { database: { trouble: 'away' } }])
    expect(await logOf(spooling, 'total')).toMatchObject({ dropped: 0 })
    expect(failuresSince(spooling, 0)).toEqual([])

    // The process that is killed the second time has started on the full disk.
    for (let kill = 0; kill < 2; kill++)
      for (const place of modes.keys()) {
        await replicas[place]!.end('SIGKILL')
        await start(place, { awaitReady: false })
        const backMs = performance.now()
        await poll(
          () => answersSince(place, backMs).length + failuresSince(place, backMs).length,
        ).toBeGreaterThan(50)
        expect(await statusOf(place, '/v1/models', ended.key)).not.toBe(200)
      }

    disk!.free()
    line.heal()
    const roomMs = performance.now()
    for (const place of modes.keys()) await poll(() => statusOf(place, '/readyz')).toBe(200)
    await poll(openAlerts).toBe(0)
    await poll(async () => (await logOf(spooling, 'rows'))['spooled']).toBe(0)
    const healedMs = performance.now() - roomMs
    await asker.stop()
    for (const place of modes.keys())
      expect([place, versionsSince(place, rolledBackMs)]).toEqual([place, [good]])
    // In durable mode, what was answered is stored.
    expect(await storedOf(durable)).toBe(answersSince(durable, 0).length)
    // In the other mode, it is stored or counted as lost. Each kill may have taken one answer with it.
    await poll(async () => Object.values(await logOf(spooling, 'rows'))).toEqual([0, 0])
    const missing = answersSince(spooling, 0).length - (await storedOf(spooling))
    await poll(async () => (await logOf(spooling, 'total'))['lost']).toBeGreaterThanOrEqual(missing)
    const { lost, dropped } = await logOf(spooling, 'total')
    expect([dropped, missing > 50, lost! - missing]).toEqual([0, true, expect.toSatisfy((each) => each <= 2)])
    await replicas[spooling]!.end('SIGTERM')
    const { served, stored, dropped: allDropped, open } = await sumAccounts(store)
    expect([open, served]).toEqual([0, stored + allDropped])
    reached(
      'F56',
      `told after ${s(toldMs)}, healthy ${s(healedMs)} after there was room; ${answers.length} answers, ${asker.failures.length} refused or lost with a kill; of the ${answersSince(spooling, 0).length} in best-effort mode, ${lost} rows were lost in the memory of killed processes and are counted`,
    )
  })
})

const s = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`
