/**
 * Replays the recorded histories against the current workflows and reports those that no longer fit. `--record [name …]` records all or the
 * named histories from real workflows.
 */
import { NativeConnection } from '@temporalio/worker'
import { rmSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import sql from 'sql-template-tag'
import { createTrainWorker } from '../../activities/worker/create-worker.ts'
import { startMonitor } from '../../workflows/client/permanent-workflows.ts'
import { defaultGatePolicy } from '../../domain/evaluation/policy.ts'
import { defaultMonitorPolicy } from '../../domain/monitoring/policy.ts'
import { listMonitorWindows } from '../../store/monitoring/monitor-windows.ts'
import { insertQueued } from '../../store/release/release-queue.ts'
import { bundleForReplay, readHistories, replay, writeHistory } from '../support/release/histories.ts'
import { withServers } from '../support/servers/own-servers.ts'
import type { DirectSpec } from '../../models/define/release.ts'
import type { SweepStart } from '../../domain/starts.ts'
import { signalOpenRelease, orderedStart } from '../support/commands/signed.ts'
import { quietRuntime } from '../support/servers/silence-temporal.ts'
import {
  drillWorkflowId,
  monitorWorkflowId,
  queueWorkflowId,
  releaseWorkflowId,
  retrainWorkflowId,
  sweepWorkflowId,
  trialWorkflowId,
  type SweepOutcome,
  type TrialOutcome,
} from '../../workflows/messages.ts'
import type * as workflows from '../../workflows/index.ts'
import {
  exampleDay,
  insertExampleRows,
  exampleModelDirectory,
  syncExampleModel,
} from '../support/training/example-model.ts'
import {
  openReleaseFixture,
  type FixtureModel,
  type FixtureRelease,
  type ReleaseFixture,
} from '../support/release/release-fixture.ts'

const [mode, ...chosen] = process.argv.slice(2)
if (mode === '--record') await record()
else await check()

async function check(): Promise<void> {
  quietRuntime()
  const replayed = await replay(await bundleForReplay(), readHistories())
  for (const { name, problem } of replayed)
    console.log(`${problem === undefined ? 'fits ' : 'BREAKS'} ${name}${problem ? `: ${problem}` : ''}`)
  const broken = replayed.filter(({ problem }) => problem !== undefined)
  console.log(`${replayed.length} histories, ${broken.length} of them no longer fit`)
  if (replayed.length === 0 || broken.length > 0) process.exitCode = 1
}

/** Returns the recorded scenarios; each starts with an approved candidate. */
function stories(
  fixtureModel: FixtureModel,
): Record<string, (release: FixtureRelease, version: string) => Promise<unknown>> {
  const approve = async (release: FixtureRelease) => {
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
  }
  return {
    promotion: approve,
    async rollback(release, version) {
      await approve(release)
      await release.reaches('canary', 1)
      fixtureModel.traffic.invalid.set(version, 0.5)
    },
    async rejection(release) {
      await release.reaches('awaiting_approval')
      await release.signal('approve', { by: 'unknown' })
      await release.say('reject', 'anna', { reason: 'not this week' })
    },
    async abort(release) {
      await approve(release)
      await release.reaches('canary', 0)
      await release.say('pause', 'olga')
      await release.say('resume', 'anna')
      await release.signal('abort', { by: 'olga', reason: 'the wrong one' })
    },
    async cancellation(release) {
      await approve(release)
      await release.reaches('canary', 0)
      await release.handle.cancel()
    },
  }
}

function record(): Promise<void> {
  return withServers(async (servers) => {
    const fixture = await openReleaseFixture(servers)
    const isChosen = (...names: string[]) =>
      chosen.length === 0 || names.some((name) => chosen.includes(name))
    try {
      for (const name of Object.keys(stories({} as FixtureModel)))
        if (isChosen(name)) await play(fixture, name)
      if (isChosen('carried')) await playCrowd(fixture)
      if (isChosen('superseded', 'queue')) await playTurn(fixture)
      if (isChosen('drill')) await playDrill(fixture)
      if (isChosen('monitor')) await playMonitor(fixture)
      if (isChosen('retrain', 'refit', 'trial', 'sweep'))
        await insertExampleRows(fixture.store, { from: 0, to: 36 })
      if (isChosen('retrain')) await playRetraining(fixture, 'retrain')
      if (isChosen('refit')) await playRetraining(fixture, 'refit', { refit: 'matured', refitDistance: 0.5 })
      if (isChosen('trial', 'sweep')) await playSearch(fixture)
    } finally {
      await fixture.close()
    }
  })
}

async function play(fixture: ReleaseFixture, name: string): Promise<void> {
  const fixtureModel = await fixture.model()
  const version = await fixtureModel.register(await fixtureModel.champion())
  const release = await fixtureModel.start(version)
  await stories(fixtureModel)[name]?.(release, version)
  const { outcome, reason } = await release.result()
  await keep(name, release.handle, `${outcome}, ${reason}`)
}

async function keep(name: string, handle: Pick<FixtureRelease['handle'], 'fetchHistory'>, summary: string) {
  writeHistory(name, await handle.fetchHistory())
  console.log(`${name}: ${summary}`)
}

/** Plays a release with so many signals that it continues as new, and keeps the run that continues it. */
async function playCrowd({ client, model }: ReleaseFixture): Promise<void> {
  const fixtureModel = await model()
  const release = await fixtureModel.start(await fixtureModel.register(await fixtureModel.champion()))
  const { workflowId, firstExecutionRunId } = release.handle
  await release.reaches('awaiting_approval')
  const isFirst = async () =>
    (await client.workflow.getHandle(workflowId).describe()).runId === firstExecutionRunId
  while (await isFirst())
    await Promise.all(
      Array.from({ length: 100 }, () =>
        client.workflow.getHandle(workflowId).signal('pause', { command: 'none' }),
      ),
    )
  await release.say('reject', 'anna', { reason: 'not this week' })
  const { outcome, reason } = await release.result()
  await keep('carried', client.workflow.getHandle(workflowId), `${outcome}, ${reason}`)
}

/** Plays a release that preempts another, and its queue workflow. */
async function playTurn({ client, config, model, store }: ReleaseFixture): Promise<void> {
  const fixtureModel = await model()
  const champion = await fixtureModel.champion()
  const [first, second] = [await fixtureModel.register(champion), await fixtureModel.register(champion)]
  const open = await fixtureModel.start(first)
  await open.reaches('awaiting_approval')
  await store.transaction((database) =>
    insertQueued(database, {
      model: fixtureModel.name,
      version: second,
      requestedBy: 'olga',
      preemption: 'unexposed',
    }),
  )
  const queue = await client.workflow.start('releaseQueue', {
    workflowId: queueWorkflowId(fixtureModel.name),
    taskQueue: config.taskQueues.control,
    args: [{ model: fixtureModel.name }],
  })
  const { outcome, reason } = await open.result()
  await keep('superseded', open.handle, `${outcome}, ${reason}`)
  await queue.result()
  await keep('queue', queue, 'its turn has come')
  await signalOpenRelease({ client, config, store }, fixtureModel.name, 'abort', { by: 'olga' })
}

async function playDrill(fixture: ReleaseFixture): Promise<void> {
  const { client, config, model } = fixture
  const fixtureModel = await model()
  await fixtureModel.champion()
  // Sets the fault of the drill's version: the simulated replicas do not read the fault in its manifest.
  fixtureModel.traffic.invalid.set(`${fixtureModel.name}_v0.0.1`, 0.5)
  const order = {
    model: fixtureModel.name,
    requestedBy: 'olga',
    kinds: ['nan' as const],
    changes: { withinMs: 8_000 },
  }
  const drill = await client.workflow.start<typeof workflows.drill>('drill', {
    workflowId: drillWorkflowId(fixtureModel.name),
    taskQueue: config.taskQueues.control,
    args: [await orderedStart(fixture, 'drill', order)],
  })
  const { message } = await drill.result()
  await keep('drill', drill, message)
}

/** Plays the monitor windows of a model with little traffic, until the workflow is cancelled. */
async function playMonitor({ client, config, model, store }: ReleaseFixture): Promise<void> {
  const fixtureModel = await model()
  await fixtureModel.champion()
  const definition = {
    evaluation: { policy: defaultGatePolicy('binary') },
    monitor: { ...defaultMonitorPolicy, everyMs: 500, settleMs: 0 },
  }
  await store.query(sql`
    update models set definition = definition || ${JSON.stringify(definition)}::jsonb where name = ${fixtureModel.name}`)
  await startMonitor(client, fixtureModel.name, config.taskQueues.control)
  const handle = client.workflow.getHandle(monitorWorkflowId(fixtureModel.name))
  while ((await listMonitorWindows(store, { model: fixtureModel.name, limit: 9 })).length < 3)
    await pause(100)
  await handle.terminate('it is recorded')
  await keep('monitor', handle, 'three windows')
}

/** Plays a trial, and a sweep of two trials up to the retraining of its winner, with their own training worker. */
async function playSearch(fixture: ReleaseFixture): Promise<void> {
  const { client, config, deps, store } = fixture
  const model = 'tulips'
  const models = await exampleModelDirectory()
  const native = await NativeConnection.connect({ address: config.temporal.address })
  const worker = await createTrainWorker(deps, native, { models })
  const running = worker.run()
  const split = `split: byTime({ train: '20 d', test: '10 d', matured: '1 d', validation: '5 d' }),`
  const common = { model, asOf: exampleDay(35), requestedBy: 'olga' }
  const start = async (type: 'trial' | 'sweep', workflowId: string, order: Partial<SweepStart>) =>
    client.workflow.start(type, {
      workflowId,
      taskQueue: config.taskQueues.control,
      args: [
        await orderedStart(fixture, type, { ...common, ...order } as SweepStart & { requestedBy: string }),
      ],
    })
  try {
    await syncExampleModel(store, models, { name: model, epochs: 2, more: split })
    const trial = await start('trial', trialWorkflowId('try_tulips'), { id: 'try_tulips' })
    const tried = (await trial.result()) as TrialOutcome
    await keep('trial', trial, `${tried.outcome}, ${tried.message}`)
    const candidates = [{ learningRate: 0.01 }, { learningRate: 0.05 }]
    const sweep = await start('sweep', sweepWorkflowId(model), { id: 'swp_tulips', candidates, parallel: 1 })
    const swept = (await sweep.result()) as SweepOutcome
    await keep('sweep', sweep, `${swept.outcome}, ${swept.message}`)
    await client.workflow
      .getHandle(releaseWorkflowId(model))
      .terminate('it is recorded')
      .catch(() => {})
  } finally {
    worker.shutdown()
    await running
    await native.close()
    rmSync(models, { recursive: true })
  }
}

/** Plays a retraining from rows to a release, with its own training worker. */
async function playRetraining(
  fixture: ReleaseFixture,
  name: string,
  release: DirectSpec = {},
): Promise<void> {
  const model = `roses-${name}`
  const { client, config, deps, store } = fixture
  const models = await exampleModelDirectory()
  const native = await NativeConnection.connect({ address: config.temporal.address })
  const worker = await createTrainWorker(deps, native, { models })
  const running = worker.run()
  try {
    const spec = { approval: { by: 1, within: '1 h' }, ...release }
    await syncExampleModel(store, models, {
      name: model,
      more: `release: direct(${JSON.stringify(spec)}),`,
    })
    const retraining = await client.workflow.start<typeof workflows.retrain>('retrain', {
      workflowId: retrainWorkflowId(model),
      taskQueue: config.taskQueues.control,
      args: [await orderedStart(fixture, 'retrain', { model, asOf: exampleDay(35), requestedBy: 'olga' })],
    })
    const { outcome, message } = await retraining.result()
    await keep(name, retraining, `${outcome}, ${message}`)
    await client.workflow.getHandle(releaseWorkflowId(model)).terminate('it is recorded')
  } finally {
    worker.shutdown()
    await running
    await native.close()
    rmSync(models, { recursive: true })
  }
}
