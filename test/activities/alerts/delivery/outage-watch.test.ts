/** Tests what a process tells the channels by itself, with Postgres and the spool on one small disk that is full. */
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  watchOutages,
  type OutageWatchDeps,
  type Symptom,
} from '../../../../activities/alerts/delivery/outage-watch.ts'
import { createClock } from '../../../../api/serving/clock.ts'
import { openPredictionLog, type PredictionLog } from '../../../../api/serving/log/prediction-log.ts'
import { openSpool } from '../../../../api/serving/log/spool.ts'
import { createIds } from '../../../../api/serving/prediction-ids.ts'
import { droppedRows, unloadableVersions, waitingStreams } from '../../../../api/watches.ts'
import { type RunningPostgres, startPostgres } from '@tenure/embedded'
import { migrate } from '../../../../store/database/migrate.ts'
import { listAlerts } from '../../../../store/monitoring/alerts.ts'
import { claimAlert } from '../../../../store/maintenance/sent-alerts.ts'
import type { Store } from '../../../../store/postgres.ts'
import { encodeOrigin } from '../../../../store/serving/prediction-log.ts'
import { openPatientStore } from '../../../support/servers/servers.ts'
import { mountSmallDisk } from '../../../support/servers/small-disk.ts'
import { until } from '../../../support/serving/serving-fixture.ts'
import { revived } from '../../../support/servers/revived.ts'

interface Notification {
  about: string
  alert: { dedupeKey: string; kind: string; message: string }
}

const disk = mountSmallDisk(200)
const ids = createIds(createClock())
const origin = encodeOrigin({ model: 'm', version: 'v', arm: 'champion', release: undefined, generation: 1 })
const bytes = 1_000
function serve(log: PredictionLog, count: number): void {
  for (let i = 0; i < count; i++) {
    ids.next()
    log.append(origin, {
      id: ids.bytes,
      atMs: Date.now(),
      routingKey: 'key',
      instances: 1,
      numbers: new Uint8Array(bytes),
      numberBytes: bytes,
      texts: new Uint8Array(0),
      textBytes: 0,
      outputs: Float32Array.of(0.5),
      outputCount: 1,
      latencyUs: 5,
      keyId: '0123456789ab',
      reference: undefined,
    })
  }
}

describe.runIf(disk !== undefined)('on a full disk, a process', () => {
  const state = mkdtempSync(join(tmpdir(), 'tenure-told-'))
  const notifications: Notification[] = []
  let receiver: Server
  let postgres: RunningPostgres
  let store: Store
  let log: PredictionLog | undefined
  let watch: ReturnType<typeof watchOutages> | undefined
  let config: OutageWatchDeps['config']

  beforeAll(async () => {
    chmodSync(state, 0o711)
    receiver = createServer((request, response) => {
      void json(request).then((body) => {
        notifications.push(body as Notification)
        response.end()
      })
    }).listen(0, '127.0.0.1')
    await once(receiver, 'listening')
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
    const alertChannels = join(state, 'alert-channels.json')
    writeFileSync(alertChannels, JSON.stringify([{ name: 'hook', target: { kind: 'webhook', url } }]))
    config = {
      alertChannels,
      secrets: join(state, 'secrets'),
      publicUrl: undefined,
      runbooks: 'docs/runbooks',
      stateDir: join(disk!.path, 'state'),
      privateHosts: [],
      outageAlertMs: 2_000,
      artifactRoot: join(state, 'artifacts'),
    }
    postgres = await startPostgres({ dataDir: join(disk!.path, 'postgres') })
    await migrate(postgres.url)
    store = openPatientStore(postgres.url, { onError: () => {} })
  })
  afterEach(async () => {
    await watch?.stop()
    await log?.close()
    watch = log = undefined
    notifications.length = 0
  })
  afterAll(async () => {
    await store?.close()
    await postgres?.stop()
    receiver?.close()
    disk?.close()
    rmSync(state, { recursive: true, force: true })
  })

  const begin = async (
    maxBytes?: number,
    symptoms: (opened: PredictionLog) => () => Symptom[] = () => () => [],
  ) => {
    const spool = await openSpool(join(config.stateDir, 'spool'), 100_000_000)
    log = openPredictionLog({ store, spool, onError: () => {}, flushMs: 20, maxBytes })
    watch = watchOutages({ store, config, log: { warn: () => {} }, symptoms: symptoms(log), everyMs: 100 })
    return log
  }
  const revive = async () => {
    postgres = await revived(postgres, join(disk!.path, 'postgres'), store)
  }
  /** Fills the disk, and again whenever a checkpoint of Postgres has freed room in which rows are stored. */
  const fill = (open: PredictionLog): (() => void) => {
    disk!.fill()
    let { stored } = open.counts()
    return () => {
      if (open.counts().stored === stored) return
      stored = open.counts().stored
      disk!.fill()
    }
  }
  /** When the write-ahead log is what no longer fits, Postgres ends without naming its disk. */
  const ofDatabase = (about: string) => [
    ...ofKey('disk_full/database', about),
    ...ofKey('postgres_unavailable', about),
  ]
  const line =
    /^(The disk of Postgres was full for|Postgres was away) \d+ s; no request failed because of it, ([\d,]+) log rows lost\.$/
  const ofKey = (key: string, about: string) =>
    notifications.filter(({ alert, about: each }) => alert.dedupeKey === key && each === about)

  it('tells of the disk of Postgres once, loses no row below the limit, and records the alert afterwards', async () => {
    const open = await begin()
    serve(open, 10)
    await until(() => open.counts().stored === 10, 'the first rows')
    const keepFull = fill(open)
    await until(() => {
      keepFull()
      if (open.counts().waiting < 10_000) serve(open, 200)
      return ofDatabase('raised').length > 0
    }, 'the alert')
    expect(ofDatabase('raised')[0]?.alert.message).toMatch(
      /^Postgres (has no room on its disk for \d+ s: .* Free space on the disk of the database|did not answer for)/,
    )
    const { served, dropped } = open.counts()
    expect(dropped).toBe(0)
    disk!.free()
    await revive()
    await until(() => open.counts().stored === served, 'every row in the table')
    await until(
      async () =>
        (await listAlerts(store, {})).some(
          ({ resolvedAt, message }) => resolvedAt !== undefined && line.exec(message)?.[2] === '0',
        ),
      'the line about the outage',
    )
    for (const key of ['disk_full/database', 'postgres_unavailable'])
      expect(ofKey(key, 'raised').length).toBeLessThanOrEqual(1)
  })

  it('tells of lost rows of the prediction log with their number, and the line afterwards counts them', async () => {
    const open = await begin(200_000, (each) => droppedRows(each, 'host/1'))
    serve(open, 10)
    await until(() => open.counts().stored === 10, 'the first rows')
    const keepFull = fill(open)
    await until(() => {
      keepFull()
      // Either alert needs rows that go on, to fill the log of Postgres or to be lost. Rows that are lost before would become an alert in the table.
      if (ofDatabase('raised').length > 0) serve(open, 200)
      else if (open.counts().waiting === 0) serve(open, 100)
      return ofKey('log_rows_dropped/host/1', 'raised').length > 0 && ofDatabase('raised').length > 0
    }, 'both alerts')
    expect(ofKey('log_rows_dropped/host/1', 'raised')).toMatchObject([
      {
        alert: {
          kind: 'log_rows_dropped',
          message: expect.stringMatching(/^Replica host\/1 has lost [\d,]+ rows of the prediction log since/),
        },
      },
    ])
    const { dropped, served } = open.counts()
    disk!.free()
    await revive()
    await until(() => open.counts().stored + dropped === served, 'the other rows in the table')
    await until(
      async () =>
        (await listAlerts(store, {})).some(
          ({ message }) => line.exec(message)?.[2] === dropped.toLocaleString('en'),
        ),
      'the line about the outage',
    )
  })

  it('does not tell what another process of the machine has claimed', async () => {
    const alert = {
      dedupeKey: 'log_rows_dropped/host/2',
      kind: 'log_rows_dropped',
      severity: 'critical',
      message: 'rows',
    } as const
    expect(await claimAlert(state, { alert, sinceMs: Date.now() })).toBeDefined()
    expect(await claimAlert(state, { alert, sinceMs: Date.now() })).toBeUndefined()
  })
})

it('a replica tells of streams that have waited without a break, and of none that waits for Postgres', () => {
  let nowMs = 0
  const streams: [topic: string, waitsFor: string | undefined][] = []
  const list = () => streams.map(([topic, waitsFor]) => ({ topic, done: 0, dead: 0, lag: 0, waitsFor }))
  const seen = waitingStreams('host/1', 1_000, { list, now: () => nowMs })
  const toldAt = (atMs: number, ...waiting: typeof streams) => {
    nowMs = atMs
    streams.splice(0, Infinity, ...waiting)
    return seen().map(({ kind, evidence }) => [kind, evidence?.['streams']])
  }
  expect(toldAt(0, ['a', 'broker'], ['b', undefined], ['c', 'prediction_log_unavailable'])).toEqual([])
  expect(toldAt(999, ['a', 'broker'], ['b', 'no_champion'])).toEqual([])
  expect(toldAt(1_000, ['a', 'broker'], ['b', 'no_champion'])).toEqual([['stream_waiting', ['a (broker)']]])
  expect(toldAt(2_000, ['a', 'broker'], ['b', 'no_champion'], ['c', 'postgres_unavailable'])).toEqual([
    ['stream_waiting', ['a (broker)', 'b (no_champion)']],
  ])
  expect(toldAt(3_000, ['a', undefined])).toEqual([])
  expect(toldAt(3_500, ['a', 'broker'])).toEqual([])
})

it('a replica tells of a version that it cannot load, and of no other fallback', () => {
  const fallback = (level: 'refused' | 'rule', version?: string) => ({
    model: 'iris',
    level,
    version,
    reason: 'the file is missing',
  })
  const seen = unloadableVersions(
    {
      fallbackLevels: () => [
        fallback('refused', 'iris_v1.0.0'),
        fallback('rule', 'iris_v1.0.0'),
        fallback('refused'),
      ],
    },
    'host/1',
  )
  expect(seen()).toMatchObject([
    {
      kind: 'replica_cannot_load',
      isRaisedElsewhere: true,
      message: expect.stringContaining('Replica host/1 cannot load iris_v1.0.0: the file is missing.'),
    },
  ])
})
