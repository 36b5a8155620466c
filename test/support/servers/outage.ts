/**
 * Kills or freezes Postgres and Temporal under steady load and brings them back. Shared by the benchmark (minutes) and the test
 * (seconds).
 */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { freePort, startTemporal } from '@tenure/embedded'
import { insertKey } from '../../../store/access/api-keys.ts'
import { sumAccounts } from '../../../store/serving/prediction-log.ts'
import { startApiProcess, startLoad, waitUntil } from '../serving/api-process.ts'
import { irisRow, irisSpec } from '../serving/artifact.ts'
import { freeze } from './freeze.ts'
import { countLogRows, openDatabase, prepareServing } from './private-database.ts'
import { quantileOf } from '../figures.ts'
import { rssMbOf } from './processes.ts'

export interface OutageOptions {
  kind: 'killed' | 'frozen'
  outageMs: number
  /** Duration of the load before and after the outage. */
  calmMs: number
  /** Requests per second; maximum load if absent. */
  rate?: number
}

/** Quantiles are medians over ten-second windows, so that windows of different length are comparable on a shared machine. */
export interface Window {
  requests: number
  failed: number
  p50Ms: number
  p99Ms: number
  /** Minimum and maximum p99 of a ten-second window. */
  p99RangeMs: [number, number]
  rssMb: number
}

export type OutageReport = Awaited<ReturnType<typeof outage>>

const callers = 32
const sliceMs = 10_000

export async function outage({ kind, outageMs, calmMs, rate }: OutageOptions) {
  const database = await openDatabase()
  const { root, store } = database
  const temporalAt = { dbFile: join(root, 'temporal.db'), port: await freePort(), uiPort: false as const }
  let temporal = await startTemporal(temporalAt)
  const environment = await prepareServing(database, [irisSpec()])
  const { key } = await insertKey(store, { name: 'outage', role: 'admin' })
  const api = await startApiProcess({ ...environment, TEMPORAL_ADDRESS: temporal.address })
  const body = JSON.stringify({ instances: [irisRow] })
  const load = startLoad(api.url, { path: '/v1/models/iris/predict', body, callers, rate })
  const measure = async (ms: number): Promise<Window> => {
    load.takeTimes()
    const counted = { answered: load.answered(), failed: load.failed() }
    let rssMb = 0
    const slices: { p50Ms: number; p99Ms: number }[] = []
    for (const end = performance.now() + ms; performance.now() < end;) {
      const sliceEnd = Math.min(end, performance.now() + sliceMs)
      for (; performance.now() < sliceEnd; await pause(Math.min(200, ms / 5)))
        rssMb = Math.max(rssMb, rssMbOf(api.child.pid!))
      const times = load.takeTimes()
      slices.push({ p50Ms: quantileOf(times, 0.5), p99Ms: quantileOf(times, 0.99) })
    }
    const p50s = slices.map(({ p50Ms }) => p50Ms)
    const p99s = slices.map(({ p99Ms }) => p99Ms)
    return {
      requests: load.answered() - counted.answered,
      failed: load.failed() - counted.failed,
      p50Ms: quantileOf(p50s, 0.5),
      p99Ms: quantileOf(p99s, 0.5),
      p99RangeMs: [Math.min(...p99s), Math.max(...p99s)],
      rssMb,
    }
  }
  const ask = async (method: string, path: string, content?: object) => {
    const from = performance.now()
    const answer = await fetch(`${api.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: content === undefined ? undefined : JSON.stringify(content),
    })
    const text = await answer.text()
    return { ms: performance.now() - from, status: answer.status, text }
  }
  try {
    // Warms up the process.
    await measure(Math.min(calmMs, 5_000))
    const before = await measure(calmMs)
    let heal: () => Promise<void>
    if (kind === 'killed') {
      process.kill(-database.pid(), 'SIGKILL')
      process.kill(-temporal.pid, 'SIGKILL')
      heal = async () => {
        await database.restart()
        temporal = await startTemporal(temporalAt)
      }
    } else {
      const thaws = [freeze(database.pid()), freeze(temporal.pid)]
      heal = () => Promise.resolve(thaws.forEach((thaw) => thaw()))
    }
    const during = measure(outageMs)
    await pause(outageMs / 2)
    const control = [
      await ask('GET', '/v1/models'),
      await ask('POST', '/v1/models/iris/retrainings', {}),
    ].map(({ ms, status }) => ({ ms, status }))
    const away = await during
    await heal()
    const healedAt = performance.now()
    const countOf = async (state: string): Promise<number> => {
      const { text } = await ask('GET', '/metrics')
      return Number(new RegExp(`tenure_prediction_log_rows\\{state="${state}"\\} (\\d+)`).exec(text)?.[1])
    }
    await waitUntil(async () => (await countOf('spooled')) === 0, 'an empty spool')
    const drainMs = performance.now() - healedAt
    const after = await measure(calmMs)
    await load.stop()
    await waitUntil(async () => (await countOf('waiting')) === 0, 'the rest of the log')
    await api.end('SIGTERM')
    const { served, stored, dropped } = await sumAccounts(store)
    return {
      kind,
      before,
      during: away,
      after,
      /** The responses of control routes during the outage. */
      control,
      /** Time until the spool was empty. */
      drainMs,
      served,
      stored,
      dropped,
      rows: await countLogRows(database),
      answered: load.answered(),
    }
  } finally {
    await load.stop()
    if (api.child.exitCode === null && api.child.signalCode === null) await api.end('SIGKILL')
    await temporal.stop()
    await database.stop()
  }
}
