/**
 * Tests on real processes that a version of LightGBM which was trained and released here is compressed, that the compressed one is released by
 * its default plan, and that its monitor rolls it back to its parent when its answers are valid and wrong, while callers are answered.
 */
import type { ChildProcess } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { listAlerts } from '../../store/monitoring/alerts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { writeFaults } from '../../store/serving/replicas.ts'
import { releaseWorkflowId } from '../../workflows/messages.ts'
import type { release as releaseWorkflow } from '../../workflows/release.ts'
import { insertPeople } from '../support/release/candidates.ts'
import { fixtureRelease, type FixtureRelease } from '../support/release/release-fixture.ts'
import type { ChildSpec } from '../../cli/supervisor/supervisor.ts'
import { startedBy } from '../support/servers/started.ts'
import {
  insertKnownKey,
  startRealSystem,
  withEnvironment,
  type RealSystem,
} from '../support/servers/system-fixture.ts'
import {
  exampleDay,
  exampleModelDirectory,
  insertExampleRows,
  syncExampleModel,
} from '../support/training/example-model.ts'
import { spawnTrainWorker, type Pipeline } from '../support/training/pipeline.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('lightgbm.txt')
const script = `
import lightgbm as lgb
import tenure

job = tenure.job()
data = lgb.Dataset(*job.train())
job.save_lightgbm(lgb.train({"objective": "binary", "seed": job.seed, "verbose": -1}, data, 100))
`
/** Two stages of seconds; a busy machine answers late at random. */
const more = `monitor: { every: '10 s', settle: '2 s', retrain: false }, release: canary({
  stages: [percent(10), percent(50)],
  soak: '2 s', requests: 40, deadline: '100 s',
  approval: { by: 1, within: '5 min' },
  watch: { tick: '200 ms', every: '200 ms', exposure: '5 s', acknowledge: '20 s', decision: '100 s' },
  limits: { maxStaleMs: 20_000, promotion: 'off', srm: 'off', slowRatio: 1e6 },
  qualification: { p99Us: 10_000_000 },
}),`

/** Plants a fault in the replicas: the answers that a drill makes invalid are valid instead, and 0.2 off. */
const plant = `import { registerHooks } from 'node:module'
  registerHooks({ load: (url, context, next) => {
    const loaded = next(url, context)
    const text = String(loaded.source ?? '')
    const source = text.replace('outputs[0] = NaN', 'outputs[0] += outputs[0] > 0.5 ? -0.2 : 0.2')
    return source === text ? loaded : { ...loaded, source }
  } })`
const wrong = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(plant)}` }

let system: RealSystem
let models: string
let trainer: ChildProcess | undefined
let key: string

beforeAll(async () => {
  if ('reason' in found) return
  const changes = () =>
    Promise.resolve((spec: ChildSpec) => (spec.name.startsWith('api') ? withEnvironment(spec, wrong) : spec))
  system = await startRealSystem({ replicas: 2, leaseMs: 5_000, changes })
  await insertPeople(system.store, { anna: 'approver' })
  key = await insertKnownKey(system, { name: 'root', role: 'admin' })
  models = await exampleModelDirectory()
  await writeFile(join(models, 'train.py'), script)
  const train = `train: python('train.py', { interpreter: '${found.python}' }), hyperparameters: {},`
  await syncExampleModel(system.store, models, { trains: false, more: `${train} ${more}` })
  await insertExampleRows(system.store, { from: 0, to: 40 })
  trainer = await spawnTrainWorker({ config: system.config, models } as Pipeline)
})
afterAll(async () => {
  trainer?.kill('SIGKILL')
  await system?.stop()
  if (models !== undefined) await rm(models, { recursive: true, force: true })
})

async function call<T>(method: string, path: string, body?: object): Promise<T> {
  const answer = await fetch(`${system.urls[0]}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const json = (await answer.json()) as T
  if (!answer.ok) throw new Error(`${answer.status} ${JSON.stringify(json)}`)
  return json
}

/** Starts a retraining and returns the release that it starts, approved. */
async function released(body: object): Promise<{ release: FixtureRelease; version: string }> {
  const answer = await call<{ id: string }>('POST', '/v1/models/roses/retrainings', body)
  const { id } = await startedBy(answer, (path) => call('GET', path))
  const path = `/v1/retrainings/${encodeURIComponent(id)}`
  let ended: { outcome?: string; message?: string; version?: string } = {}
  await expect
    .poll(async () => (ended = await call<typeof ended>('GET', path)).outcome, { interval: 200 })
    .toBeDefined()
  expect(ended.outcome, ended.message).toBe('released')
  const handle = system.client.workflow.getHandle<typeof releaseWorkflow>(releaseWorkflowId('roses'))
  const { runId } = await handle.describe()
  const opened = fixtureRelease(system, Object.assign(handle, { firstExecutionRunId: runId }))
  await opened.reaches('awaiting_approval')
  await opened.say('approve', 'anna')
  return { release: opened, version: ended.version! }
}

/** Asks both replicas for new users, until it is stopped. */
function startAsking() {
  const answered = new Map<string, number>()
  const failures: string[] = []
  let isStopped = false
  let caller = 0
  const running = system.urls.map(async (url) => {
    while (!isStopped) {
      const user = caller++
      const row = { size: (user * 37) % 10, colour: user % 2 === 0 ? 'red' : 'white', age: user % 80 }
      const response = await fetch(`${url}/v1/models/roses/predict`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ instances: [row], routing_key: `user ${user}` }),
      })
      const { version, code } = (await response.json()) as { version?: string; code?: string }
      // A replica on a busy machine refuses requests that have waited for 250 ms; clients retry them.
      if (version !== undefined) answered.set(version, (answered.get(version) ?? 0) + 1)
      else if (code !== 'overloaded') failures.push(`${response.status} ${code}`)
      await pause(15)
    }
  })
  return {
    answered,
    failures,
    stop: async () => {
      isStopped = true
      await Promise.all(running)
    },
  }
}

it.skipIf('reason' in found)(
  'a compressed version is released by a shadow and one stage, and rolled back to its parent when its answers are wrong',
  async () => {
    const { store } = system
    const parent = await released({ as_of: exampleDay(35) })
    expect(await parent.release.result()).toMatchObject({ outcome: 'promoted' })
    const asking = startAsking()
    try {
      const compress = { version: parent.version, to: 'float16' }
      const child = await released({ as_of: exampleDay(35), compress })
      expect((await getVersion(store, child.version)).lineage.compression).toMatchObject(compress)
      expect(await child.release.result()).toMatchObject({ outcome: 'promoted' })
      const { policy, routings } = await child.release.state()
      expect(policy.limits.disagreement).toEqual({ max: 0.01, action: 'rollback' })
      expect(routings.map(({ stage, stageIndex }) => [stage, stageIndex])).toEqual([
        ['shadow', 0],
        ['canary', 0],
        ['probation', 0],
      ])
      await expect.poll(() => asking.answered.get(child.version) ?? 0).toBeGreaterThan(40)
      // Neither its release nor its promotion has cost a request.
      expect(asking.failures).toEqual([])

      const faultMs = Date.now()
      await writeFaults(store, { [child.version]: { invalidShare: 1 } })
      await expect
        .poll(async () => (await findChampion(store, 'roses'))?.version, { interval: 200 })
        .toBe(parent.version)
      process.stdout.write(
        `back at the parent ${((Date.now() - faultMs) / 1_000).toFixed(1)} s after the fault\n`,
      )
      expect(asking.failures).toEqual([])
      const [told] = (await listAlerts(store, { model: 'roses' })).filter(
        ({ kind }) => kind === 'champion_rolled_back',
      )
      expect(told?.message).toContain(
        `${child.version} is rolled back to ${parent.version} by its monitor: answers of ${child.version} moved away from those of its parent`,
      )
      const place = async () => {
        asking.answered.clear()
        await pause(200)
        return [...asking.answered.keys()]
      }
      await expect.poll(place).toEqual([parent.version])
      asking.failures.length = 0
      await expect.poll(() => asking.answered.get(parent.version) ?? 0).toBeGreaterThan(100)
      expect(asking.failures).toEqual([])
      expect([...asking.answered.keys()]).toEqual([parent.version])
    } finally {
      await asking.stop()
    }
  },
)
