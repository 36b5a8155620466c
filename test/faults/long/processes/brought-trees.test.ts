/**
 * Tests on real processes that a LightGBM model from elsewhere replaces a TensorFlow.js network by canary, answers like LightGBM itself,
 * and is rolled back to the network while clients continue.
 */
import type { ChildProcess } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { findChampion } from '../../../../store/registry/champions.ts'
import { releaseWorkflowId } from '../../../../workflows/messages.ts'
import type { release as releaseWorkflow } from '../../../../workflows/release.ts'
import { readRosesModel } from '../../../../packages/predictors/test/support/roses-lightgbm.ts'
import { insertPeople } from '../../../support/release/candidates.ts'
import { fixtureRelease, type FixtureRelease } from '../../../support/release/release-fixture.ts'
import { showPolicy } from '../../../support/fleet/fleet-fixture.ts'
import { startedBy } from '../../../support/servers/started.ts'
import { insertKnownKey, startRealSystem, type RealSystem } from '../../../support/servers/system-fixture.ts'
import {
  exampleDay,
  exampleModelDirectory,
  insertExampleRows,
  syncExampleModel,
} from '../../../support/training/example-model.ts'
import { spawnTrainWorker, type Pipeline } from '../../../support/training/pipeline.ts'

const trees = readRosesModel()
let system: RealSystem
let models: string
let trainer: ChildProcess | undefined
let key: string

beforeAll(async () => {
  system = await startRealSystem({ replicas: 2, leaseMs: 2_000 })
  await insertPeople(system.store, { anna: 'approver' })
  key = await insertKnownKey(system, { name: 'root', role: 'admin' })
  models = await exampleModelDirectory()
  await syncExampleModel(system.store, models, { epochs: 2 })
  await insertExampleRows(system.store, { from: 0, to: 40 })
  trainer = await spawnTrainWorker({ config: system.config, models } as Pipeline)
})
afterAll(async () => {
  trainer?.kill('SIGKILL')
  await system?.stop()
  await rm(models, { recursive: true, force: true })
})

async function call<T>(method: string, path: string, body?: object | FormData): Promise<T> {
  const isForm = body instanceof FormData
  const answer = await fetch(`${system.urls[0]}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(isForm ? {} : { 'content-type': 'application/json' }) },
    body: isForm ? body : JSON.stringify(body),
  })
  const json = (await answer.json()) as T
  if (!answer.ok) throw new Error(`${answer.status} ${JSON.stringify(json)}`)
  return json
}

/** Returns the release that a retraining has started. */
async function releaseOf(answer: { id: string }): Promise<{ release: FixtureRelease; version: string }> {
  const started = await startedBy(answer, (path) => call('GET', path))
  type Retraining = { outcome?: string; message?: string; version?: string }
  const path = `/v1/retrainings/${encodeURIComponent(started.id)}`
  let ended: Retraining = {}
  await expect
    .poll(async () => (ended = await call<Retraining>('GET', path)).outcome, { interval: 200 })
    .toBeDefined()
  expect(ended.outcome, ended.message).toBe('released')
  const handle = system.client.workflow.getHandle<typeof releaseWorkflow>(releaseWorkflowId('roses'))
  const { runId } = await handle.describe()
  const named = Object.assign(handle, { firstExecutionRunId: runId })
  return { release: fixtureRelease(system, named), version: ended.version! }
}

interface Answer {
  version: string
  predictions: { id: string; probability: number; label: boolean; positive: string }[]
}

/** Requests every row from both replicas, each time with a new routing key. */
function startAsking() {
  const seen = new Map<string, { row: number; body: Answer }[]>()
  const failures: string[] = []
  let isStopped = false
  let caller = 0
  let sinceMs = 0
  const running = system.urls.map(async (url) => {
    while (!isStopped) {
      const row = caller % trees.rows.length
      const sentMs = performance.now()
      try {
        const response = await fetch(`${url}/v1/models/roses/predict`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ instances: [trees.rows[row]], routing_key: `caller ${caller++}` }),
        })
        const body = (await response.json()) as Answer & { code?: string }
        // A replica on a busy machine refuses requests that have waited for 250 ms; clients retry them.
        if (response.ok && sentMs >= sinceMs)
          seen.set(body.version, [...(seen.get(body.version) ?? []), { row, body }])
        else if (!response.ok && body.code !== 'overloaded') failures.push(JSON.stringify(body))
      } catch (error) {
        failures.push(String(error))
      }
      await pause(15)
    }
  })
  return {
    seen,
    failures,
    /** Forgets what was seen; answers to requests that were sent before do not count. */
    reset() {
      sinceMs = performance.now()
      seen.clear()
    },
    stop: async () => {
      isStopped = true
      await Promise.all(running)
    },
  }
}

const fieldsOf = (body: Answer) => ({
  answer: Object.keys(body).toSorted(),
  prediction: Object.keys(body.predictions[0]!).toSorted(),
})

it('a LightGBM challenger replaces a TensorFlow.js champion by canary, and is rolled back to it', async () => {
  const first = await releaseOf(
    await call<{ id: string }>('POST', '/v1/models/roses/retrainings', { as_of: exampleDay(35) }),
  )
  await first.release.reaches('awaiting_approval')
  await first.release.say('approve', 'anna')
  expect(await first.release.result()).toMatchObject({ outcome: 'promoted' })

  // The model file releases directly; the second release is a canary.
  await system.store.query(
    sql`update models set definition = jsonb_set(definition, '{release}', ${JSON.stringify(showPolicy)}::jsonb) where name = 'roses'`,
  )
  const form = new FormData()
  form.set('artifact', new Blob([trees.model]), 'model.txt')
  form.set('as_of', exampleDay(36))
  form.set('trained_on', 'roses of the first twenty days')
  const brought = await releaseOf(await call<{ id: string }>('POST', '/v1/models/roses/versions', form))
  const asking = startAsking()
  try {
    await brought.release.reaches('awaiting_approval')
    await brought.release.say('approve', 'anna')
    await brought.release.reaches('canary', 0)
    expect(await brought.release.result()).toMatchObject({ outcome: 'promoted' })
    expect(await findChampion(system.store, 'roses')).toMatchObject({ version: brought.version })
    const [network, canary] = [asking.seen.get(first.version)!, asking.seen.get(brought.version)!]
    expect(Math.min(network.length, canary.length)).toBeGreaterThan(50)
    for (const { row, body } of canary)
      expect(Math.abs(body.predictions[0]!.probability - trees.answers[row]!)).toBeLessThanOrEqual(1e-6)
    expect(new Set(canary.map(({ row }) => row)).size).toBeGreaterThan(30)
    expect(fieldsOf(canary[0]!.body)).toEqual(fieldsOf(network[0]!.body))

    await call('POST', '/v1/models/roses/rollback', { reason: 'the trees are too old' })
    expect(await findChampion(system.store, 'roses')).toMatchObject({ version: first.version })
    asking.reset()
    await expect.poll(() => asking.seen.get(first.version)?.length ?? 0).toBeGreaterThan(50)
    expect([...asking.seen.keys()]).toEqual([first.version])
    expect(asking.failures).toEqual([])
  } finally {
    await asking.stop()
  }
})
