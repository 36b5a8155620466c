/**
 * Tests F29: three times the peak load with Postgres frozen by SIGSTOP, in both modes of the prediction log. Best-effort mode serves and
 * counts the rows that it cannot keep; durable mode refuses a prediction that it cannot store. Runs the production process, on sockets.
 *
 * TENURE_TEST_FROZEN_S=60    seconds for which Postgres is frozen (default 20)
 */
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import type { OpenPlan, OpenLoadResult } from '../../../support/serving/open-load.ts'
import { startPostgres } from '@tenure/embedded'
import { sumAccounts } from '../../../../store/serving/prediction-log.ts'
import { insertKey } from '../../../../store/access/api-keys.ts'
import { migrate } from '../../../../store/database/migrate.ts'
import { openStore } from '../../../../store/postgres.ts'
import { checkout, environmentWith } from '../../../../temporal.config.ts'
import { startApiProcess, waitUntil } from '../../../support/serving/api-process.ts'
import { irisRow, irisSpec } from '../../../support/serving/artifact.ts'
import { reached } from '../../figures.ts'
import { freeze } from '../../../support/servers/freeze.ts'
import { nextRoute, registerFixtureVersion } from '../../../support/serving/registration.ts'
import { keyPlacesOf } from '../../../support/serving/sign-versions.ts'

const frozenS = Number(environmentWith({})['TENURE_TEST_FROZEN_S'] ?? 20)
const peakS = 3
const mostMb = 200
const path = '/v1/models/iris/predict'
// Large, so that few requests fill a small disk.
const body = JSON.stringify({ instances: Array(32).fill(irisRow) })

/** Starts everything that the process of a mode needs. Ends with the test. */
async function open(mode: 'best-effort' | 'durable', { spool }: { spool?: string } = {}) {
  const root = mkdtempSync(join(tmpdir(), 'tenure-overload-'))
  // Postgres runs as another user when this one is root.
  chmodSync(root, 0o711)
  const stateDir = join(root, 'state')
  const unmount = spool === undefined ? () => {} : mount(join(stateDir, 'spool'), spool)
  const postgres = await startPostgres({ dataDir: join(root, 'postgres') })
  await migrate(postgres.url)
  const store = openStore(postgres.url, { name: 'overload', onError: () => {} })
  const artifacts = join(root, 'artifacts')
  await nextRoute(store, 'iris', { proven: await registerFixtureVersion(store, artifacts, irisSpec()) })
  const { key } = await insertKey(store, { name: 'overload', role: 'admin' })
  const api = await startApiProcess({
    DATABASE_URL: postgres.url,
    TENURE_STATE: stateDir,
    TENURE_ARTIFACTS: artifacts,
    TENURE_KEYS: keyPlacesOf(artifacts).keys,
    TENURE_PUBLIC_PREDICTIONS: 'on',
    TENURE_PREDICTION_LOG: mode,
  })
  const thaws: (() => void)[] = []
  onTestFinished(async () => {
    for (const thaw of thaws) thaw()
    if (api.child.exitCode === null && api.child.signalCode === null) await api.end('SIGKILL')
    await store.close()
    await postgres.stop()
    unmount()
    rmSync(root, { recursive: true, force: true })
  })
  const bodyFile = join(root, 'body.json')
  writeFileSync(bodyFile, body)
  const rssMb = () =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${api.child.pid}/status`, 'utf8'))?.[1]) / 1_024
  return {
    store,
    api,
    rssMb,
    /** Freezes Postgres. */
    freeze() {
      const thaw = freeze(postgres.pid)
      thaws.push(thaw)
      return thaw
    },
    /** Runs a load from a separate process and returns its result with the peak memory of the API. */
    async load(phase: OpenPlan['phases'][number]): Promise<OpenLoadResult & { mb: number }> {
      const plan: OpenPlan = {
        url: `${api.url}${path}`,
        body: bodyFile,
        authorization: `Bearer ${key}`,
        deadlineMs: 5_000,
        mostConnections: 512,
        phases: [phase],
      }
      let mb = rssMb()
      const timer = setInterval(() => (mb = Math.max(mb, rssMb())), 200)
      try {
        return { ...(await openLoad(plan)), mb }
      } finally {
        clearInterval(timer)
      }
    },
    async metric(name: string, state: string): Promise<number> {
      const answer = await fetch(`${api.url}/metrics`, { headers: { authorization: `Bearer ${key}` } })
      return Number(new RegExp(`^${name}\\{[^}]*"${state}"\\} (\\d+)`, 'm').exec(await answer.text())?.[1])
    },
  }
}

/** Mounts a small disk that fills quickly. */
function mount(at: string, size: string): () => void {
  mkdirSync(at, { recursive: true })
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', at], { stdio: 'ignore' })
  return () => execFileSync('umount', ['-l', at])
}

function mayMount(): boolean {
  const probe = mkdtempSync(join(tmpdir(), 'tenure-probe-'))
  try {
    mount(probe, '1m')()
    return true
  } catch {
    return false
  } finally {
    rmSync(probe, { recursive: true, force: true })
  }
}

async function openLoad(plan: OpenPlan): Promise<OpenLoadResult> {
  const args = ['--import', 'tsx', 'test/support/serving/open-load.ts', JSON.stringify(plan)]
  const child = spawn(process.execPath, args, { cwd: checkout, stdio: ['ignore', 'pipe', 'inherit'] })
  const found: OpenLoadResult[] = []
  createInterface({ input: child.stdout }).on('line', (line) =>
    found.push(JSON.parse(line) as OpenLoadResult),
  )
  const code = await new Promise((resolve) => child.once('close', resolve))
  if (code !== 0 || found[0] === undefined) throw new Error(`the load ended with ${String(code)}`)
  return found[0]
}

const answersOf = (results: readonly OpenLoadResult[]) =>
  results.reduce((sum, { good, late }) => sum + good + late, 0)
const whole = (value: number) => Math.round(value).toLocaleString('en-US')

it('best-effort mode serves every prediction, and each is stored or counted as dropped', async () => {
  const isSmall = mayMount()
  const fixture = await open('best-effort', isSmall ? { spool: '256k' } : {})
  const { store, api, load, metric } = fixture
  const calm = await load({ name: 'peak', seconds: peakS })
  const thaw = fixture.freeze()
  const over = await load({ name: 'over', rate: (3 * calm.good) / peakS, seconds: frozenS })
  thaw()
  expect(over.good).toBeGreaterThan(0)
  await waitUntil(
    async () => (await metric('tenure_prediction_log_rows', 'spooled')) === 0,
    'a spool that is empty',
  )
  await waitUntil(
    async () => (await metric('tenure_prediction_log_rows', 'waiting')) === 0,
    'the rest of the log',
  )
  const mb = Math.max(over.mb, fixture.rssMb())
  await api.end('SIGTERM')
  const { open: unsettled, served, stored, dropped } = await sumAccounts(store)
  const { rows } = await store.pool.query<{ count: number }>('select count(*) from predictions')
  expect([unsettled, stored + dropped, rows[0]!.count]).toEqual([0, served, stored])
  const answered = answersOf([calm, over])
  expect(served).toBeGreaterThanOrEqual(answered)
  expect(served).toBeLessThanOrEqual(answered + calm.unanswered + over.unanswered)
  expect(mb - calm.mb).toBeLessThanOrEqual(mostMb)
  reached(
    'F29',
    `best effort, ${frozenS} s frozen at ${whole((3 * calm.good) / peakS)} requests/s: ${whole(over.good + over.late)} of ${whole(over.offered)} answered; served ${whole(served)} = stored ${whole(stored)} + dropped ${whole(dropped)}${isSmall ? ' (a spool of 256 KB)' : ''}; ${Math.round(mb - calm.mb)} MB more`,
  )
})

it('durable mode refuses predictions that it cannot store, within its memory limit', async () => {
  const fixture = await open('durable')
  const { store, api, load, metric } = fixture
  const calm = await load({ name: 'peak', seconds: peakS })
  // Responses with known ids must be in the log once, with the same content.
  const ids: string[] = []
  let statuses = new Map<number, number>()
  let going = true
  const ask = async () => {
    const answer = await fetch(`${api.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
    const { predictions } = (await answer.json()) as { predictions?: { id: string }[] }
    if (answer.status === 200) ids.push(predictions![0]!.id)
    return answer.status
  }
  const witnesses = Array.from({ length: 4 }, async () => {
    while (going) {
      await ask().catch(() => {})
      await pause(5)
    }
  })
  await waitUntil(() => ids.length > 20, 'answers before')
  const thaw = fixture.freeze()
  // Rows in transit to Postgres are answered or given up.
  await pause(2_000)
  statuses = new Map()
  const over = await load({ name: 'over', rate: (3 * calm.good) / peakS, seconds: frozenS })
  const told = new Map(statuses)
  thaw()
  expect(answersOf([over])).toBe(0)
  expect(over.refused).toBeGreaterThan(0)
  expect([...told.keys()]).toEqual([503])
  await waitUntil(async () => (await ask().catch(() => 0)) === 200, 'answers again')
  going = false
  await Promise.all(witnesses)
  const [stored, refused] = await Promise.all(
    ['stored', 'refused'].map((state) => metric('tenure_prediction_log_total', state)),
  )
  const mb = Math.max(over.mb, fixture.rssMb())
  await api.end('SIGTERM')
  const { rows } = await store.pool.query<{ rows: number; different: number; known: number }>(
    'select count(*) as rows, count(distinct id) as different, count(*) filter (where id = any ($1)) as known from predictions',
    [ids],
  )
  const { rows: kept, different, known } = rows[0]!
  expect([different, known]).toEqual([kept, ids.length])
  // Every response has a row. A row that was refused by deadline may have been committed later without a report.
  expect(stored).toBe(answersOf([calm]) + ids.length)
  expect(kept).toBeGreaterThanOrEqual(stored!)
  expect(kept - stored!).toBeLessThanOrEqual(refused!)
  expect(mb - calm.mb).toBeLessThanOrEqual(mostMb)
  reached(
    'F29',
    `durable, ${frozenS} s frozen: 0 of ${whole(over.offered)} answered, ${whole(over.refused)} told 503; ${whole(stored!)} answers = ${whole(stored!)} rows, each once; ${Math.round(mb - calm.mb)} MB more`,
  )
})
