/**
 * Tests a training that exhausts memory: in the V8 heap, outside it, in TensorFlow, and by a kernel kill. It is tried three times and ends
 * with the reason in its record; predictions are not affected; the next training works.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listAlerts } from '../../../../store/monitoring/alerts.ts'
import { findRetraining } from '../../../../store/training/retrainings.ts'
import { getTraining } from '../../../../store/training/trainings.ts'
import { startApiProcess, type ApiProcess } from '../../../support/serving/api-process.ts'
import { irisRow, irisSpec } from '../../../support/serving/artifact.ts'
import { reached } from '../../figures.ts'
import { openPipeline, type Pipeline } from '../../../support/training/pipeline.ts'
import { nextRoute, registerFixtureVersion } from '../../../support/serving/registration.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../../support/training/example-model.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import { keyPlacesOf } from '../../../support/serving/sign-versions.ts'

let pipeline: Pipeline
let api: ApiProcess
const model = uniqueName('roses')
const served = uniqueName('iris')
/** Memory limit of the trainer; TensorFlow itself takes a third of it. */
const limitMb = 1_024

beforeAll(async () => {
  pipeline = await openPipeline()
  const { store, config } = pipeline
  await syncExampleModel(store, pipeline.models, { name: model })
  await insertExampleRows(store, { from: 0, to: 40 })
  await nextRoute(store, served, {
    proven: await registerFixtureVersion(store, config.artifactRoot, irisSpec(served)),
  })
  api = await startApiProcess({
    DATABASE_URL: config.databaseUrl,
    TEMPORAL_ADDRESS: config.temporal.address,
    TENURE_STATE: join(config.stateDir, 'api'),
    TENURE_ARTIFACTS: config.artifactRoot,
    TENURE_KEYS: keyPlacesOf(config.artifactRoot).keys,
    TENURE_PUBLIC_PREDICTIONS: 'on',
  })
  asking = Promise.all(Array.from({ length: 4 }, ask))
})
afterAll(async () => {
  going = false
  await asking
  await api?.end('SIGKILL')
  await pipeline?.close()
})

const callers = {
  answered: 0,
  /** Other responses, and errors. */
  failures: [] as string[],
  /** Refused as overloaded because the machine was busy; retried at once, as Retry-After says. */
  shed: 0,
  times: [] as number[],
}
let going = true
let asking: Promise<unknown> = Promise.resolve()

/** Runs a client with twenty requests a second that retries after a 503 `overloaded` response. */
async function ask(): Promise<void> {
  const request = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ instances: [irisRow] }),
  }
  while (going) {
    const from = performance.now()
    const answer = await fetch(`${api.url}/v1/models/${served}/predict`, request).then(
      async (response) => ({ status: response.status, text: await response.text() }),
      (error: Error) => ({ status: 0, text: String(error.cause ?? error) }),
    )
    if (answer.status === 200) {
      callers.answered++
      callers.times.push(performance.now() - from)
    } else if (answer.status === 503 && answer.text.includes('"overloaded"')) callers.shed++
    else if (going) callers.failures.push(`${answer.status} ${answer.text}`)
    await pause(50)
  }
}
const takeTimes = (): number[] => callers.times.splice(0)

const p99Of = (times: number[]): number => times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? NaN
const quiet: number[] = []
const starved: number[] = []
let most = 0

/** Trains with this `train` and returns the final record. */
async function retrain(train: string) {
  await syncExampleModel(pipeline.store, pipeline.models, { name: model, more: train })
  takeTimes()
  const handle = await pipeline.start({ model, asOf: exampleDay(35) })
  const outcome = await handle.result()
  const training = await getTraining(pipeline.store, `trn_${handle.firstExecutionRunId.replaceAll('-', '')}`)
  starved.push(...takeTimes())
  most = Math.max(most, training.attempts)
  return { outcome, training }
}

async function expectCleanFailure({ outcome, training }: Awaited<ReturnType<typeof retrain>>): Promise<void> {
  const told = expect.stringContaining('out of memory') as unknown
  expect(outcome).toMatchObject({ outcome: 'failed', message: told })
  expect(outcome.message).not.toMatch(/exit code/)
  expect(training).toMatchObject({ status: 'failed', message: told })
  expect(training.attempts).toBeLessThanOrEqual(3)
  expect(await findRetraining(pipeline.store, outcome.retrainingId)).toMatchObject({
    outcome: 'failed',
    message: told,
    endedAt: expect.any(String) as unknown,
  })
  // A version of an earlier test awaits its approval.
  const alerts = (await listAlerts(pipeline.store, { model, open: true })).filter(
    ({ kind }) => kind !== 'approval_needed',
  )
  expect(alerts).toMatchObject([{ kind: 'failed', message: told }])
  expect(callers.failures).toEqual([])
}

it('predictions without a fault give the latency baseline', async () => {
  takeTimes()
  await expect.poll(() => callers.answered).toBeGreaterThan(300)
  quiet.push(...takeTimes())
  expect(callers.failures).toEqual([])
})

describe('a training that exhausts its memory limit', () => {
  it.each([
    ["in V8's heap", `const held = []; for (;;) held.push(new Array(1_000_000).fill(0.5))`],
    ['outside of it', `const held = []; for (;;) held.push(new Float64Array(2_000_000).fill(1))`],
    ['in TensorFlow', `const held = []; for (;;) held.push(tf.ones([2_048, 2_048]))`],
  ])('%s ends after three attempts with the reason', async (_where, body) => {
    pipeline.config.trainingMemoryMb = limitMb
    await expectCleanFailure(await retrain(`train: async ({ tf }) => { ${body} },`))
  })

  it('does not prevent the release of the next training', async () => {
    pipeline.config.trainingMemoryMb = limitMb
    const { outcome, training } = await retrain('')
    expect(outcome).toMatchObject({ outcome: 'released', version: `${model}_v1.0.0` })
    expect(training).toMatchObject({ status: 'done', attempts: 1 })
    expect(callers.failures).toEqual([])
  })
})

const groups = '/sys/fs/cgroup/memory'
const mayGroup = process.getuid?.() === 0 && existsSync(join(groups, 'memory.limit_in_bytes'))

describe('a training that the kernel kills for memory', () => {
  it.skipIf(!mayGroup)('ends after three attempts with the reason', async () => {
    const group = join(groups, `tenure-test-${process.pid}`)
    mkdirSync(group)
    writeFileSync(join(group, 'memory.limit_in_bytes'), String(600 * 1_048_576))
    let watching = true
    // Adds each trainer to the group as soon as it has started.
    const seen = new Set<number>()
    const watcher = (async () => {
      while (watching) {
        for (const { message, fields } of pipeline.lines) {
          const pid = Number(fields['pid'])
          if (message !== 'trainer started' || seen.has(pid)) continue
          seen.add(pid)
          try {
            writeFileSync(join(group, 'cgroup.procs'), String(pid))
          } catch {
            // A training of an earlier test.
          }
        }
        await pause(5)
      }
    })()
    try {
      delete pipeline.config.trainingMemoryMb
      const failed = await retrain(
        `train: async () => { const held = []; for (;;) held.push(new Float64Array(2_000_000).fill(1)) },`,
      )
      await expectCleanFailure(failed)
      expect(failed.outcome.message).toContain('the kernel')
      expect(readFileSync(join(group, 'memory.oom_control'), 'utf8')).toMatch(/oom_kill [1-9]/)
    } finally {
      watching = false
      await watcher
      await expect.poll(() => readFileSync(join(group, 'cgroup.procs'), 'utf8').trim()).toBe('')
      rmdirSync(group)
    }
  })
})

it('a training out of memory does not slow predictions', () => {
  const [before, during] = [p99Of(quiet), p99Of(starved)]
  expect(Math.min(quiet.length, starved.length)).toBeGreaterThan(0)
  expect(callers.failures).toEqual([])
  reached(
    'F5',
    `${most} tries, "out of memory" in the record; 0 of ${callers.answered} predictions failed, ${callers.shed} asked again; p99 ${before.toFixed(1)} → ${during.toFixed(1)} ms on a machine that trains as well`,
  )
})
