/** Tests integrations: MLflow by its responses to queries, OpenLineage by the events that it receives. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Deps } from '../../../activities/deps.ts'
import { uuidOf, withLineage } from '../../../activities/integrations/lineage-events.ts'
import { mirrorPolicy, syncIntegrations } from '../../../activities/integrations/sync.ts'
import { DomainError } from '../../../domain/errors.ts'
import { lineageJobs, lineageTypes } from '../../../domain/registry/openlineage.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { countBacklog, renewIntegrations } from '../../../store/integrations/outbox.ts'
import type { Store } from '../../../store/postgres.ts'
import { environmentWith, readConfig } from '../../../temporal.config.ts'
import { startMlflow, startReceiver, type MlflowServer } from '../../support/training/mlflow-server.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'

const warnings: unknown[] = []
const log = { debug() {}, info() {}, error() {}, warn: (fields: object) => void warnings.push(fields) }
const policy = { ...mirrorPolicy, pollMs: 20, firstPauseMs: 20, longestPauseMs: 100, lookMs: 50 }
let store: Store
let databaseUrl: string

beforeAll(async () => {
  databaseUrl = await migratedDatabase()
  store = openPatientStore(databaseUrl)
  await renewIntegrations(store, ['mlflow', 'openlineage'])
})
afterAll(() => store?.close())

function depsOf(environment: Record<string, string>): Deps {
  const config = readConfig({ DATABASE_URL: databaseUrl, TENURE_BUILD_ID: 'build', ...environment })
  return { store, artifacts: openArtifacts(config.artifactRoot), config, log }
}

/** Runs the integrations while `work` runs. */
async function telling<T>(
  deps: Deps,
  work: () => Promise<T>,
  change: Partial<typeof policy> = {},
): Promise<T> {
  const stop = new AbortController()
  const running = syncIntegrations(deps, stop.signal, { ...policy, ...change })
  try {
    return await work()
  } finally {
    stop.abort()
    await running
  }
}

const told = (target: 'mlflow' | 'openlineage') =>
  until(async () => (await countBacklog(store, target)).waiting === 0, `${target} to be told`)

/** Inserts a finished training with its gate result and a version, as the pipeline does. */
async function trained(model: string, minor: number) {
  const [training, version] = [`trn_${model}_${minor}`, `${model}_v1.${minor}.0`]
  const lineage = { snapshot: 'sha256:abc', hyperparameters: { units: 8 }, metrics: { auc: 0.8 } }
  await store.query(
    sql`insert into models (name, definition, code_digest) values (${model}, '{}', 'c') on conflict do nothing`,
  )
  await store.query(sql`insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
    values (${`sha256:${model}`}, ${model}, now(), 2, 10, '{"x":"DOUBLE"}', '{}') on conflict do nothing`)
  await store.query(sql`insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, hyperparameters, status)
    values (${training}, ${model}, ${`sha256:${model}`}, 7, 'c', '', '{"units":8,"rate":0.1}', 'running')`)
  await store.query(sql`update trainings set status = 'done', ended_at = now(), artifact_digest = 'sha256:a', epoch = 1000,
    code_digest = 'other', dependencies_digest = 'd', curve = (
      select jsonb_agg(jsonb_build_object('epoch', n, 'loss', 250.0 / n)) from generate_series(1, 1000) as n
    ) where id = ${training}`)
  await store.query(sql`insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, verdict, report, report_digest)
    values (${`e-${version}`}, ${model}, ${training}, ${`sha256:${model}`}, 'sha256:a', 'better',
      '{"metrics":[{"metric":"auc","challenger":0.8}]}', 'sha256:r')`)
  await store.query(sql`insert into versions (version, model, major, minor, patch, artifact_digest, manifest, evaluation_id, training_id, lineage, created_by)
    values (${version}, ${model}, 1, ${minor}, 0, 'sha256:a', '{}', ${`e-${version}`}, ${training}, ${JSON.stringify(lineage)}, 'test')`)
  return { training, version }
}

async function release(model: string, version: string): Promise<string> {
  const id = `rel_${uniqueName('r')}`
  await store.query(sql`insert into releases (id, model, version, strategy, policy, policy_digest, evaluation_digest, artifact_digest,
      requested_by, workflow_id, run_id, stage, state)
    values (${id}, ${model}, ${version}, 'canary', '{}', 'p', 'e', 'a', 'anna', 'w', 'r', 'canary', ${JSON.stringify({ id, version, model })})`)
  return id
}
const endRelease = (id: string, outcome: string) =>
  store.query(
    sql`update releases set outcome = ${outcome}, reason = 'it was slower', ended_at = now(), stage = 'ended' where id = ${id}`,
  )

const command = environmentWith({})['TENURE_TEST_MLFLOW']
const kinds: [string, () => Promise<MlflowServer>][] = [
  ['a receiver of its shapes', () => startReceiver()],
  ...(command === undefined
    ? []
    : [['the server itself', () => startMlflow(command)] as [string, () => Promise<MlflowServer>]]),
]

describe.each(kinds)('MLflow: %s', (_name, start) => {
  const model = uniqueName('model')
  let server: MlflowServer
  let deps: Deps
  beforeAll(async () => {
    server = await start()
    deps = depsOf({ TENURE_MLFLOW_URL: server.url })
  })
  afterAll(() => server?.stop())

  const get = async (path: string) =>
    (await fetch(`${server.url}/api/2.0/mlflow/${path}`)).json() as Promise<Record<string, unknown>>
  const runOf = async (training: string) => {
    const { experiment } = await get(
      `experiments/get-by-name?experiment_name=${encodeURIComponent(`tenure/${model}`)}`,
    )
    const answer = await fetch(`${server.url}/api/2.0/mlflow/runs/search`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        experiment_ids: [(experiment as { experiment_id: string }).experiment_id],
        filter: `tags.\`tenure.training\` = '${training}'`,
        max_results: 10,
      }),
    })
    return (
      (await answer.json()) as {
        runs: { info: object; data: Record<string, { key: string; value: unknown }[]> }[]
      }
    ).runs
  }
  const aliases = async () => {
    const { registered_model: found } = await get(`registered-models/get?name=${model}`)
    const list = (found as { aliases?: { alias: string; version: string }[] }).aliases ?? []
    return Object.fromEntries(list.map(({ alias, version }) => [alias, version]))
  }

  it('stores a run of a thousand epochs with its parameters, metrics, digests and registered version', async () => {
    const { training, version } = await trained(model, 0)
    await telling(deps, () => told('mlflow'))
    const runs = await runOf(training)
    expect(runs).toHaveLength(1)
    const [{ info, data } = { info: {}, data: {} }] = runs
    expect(info).toMatchObject({ run_name: training, status: 'FINISHED', end_time: expect.any(Number) })
    const valuesOf = (what: string) =>
      Object.fromEntries((data[what] ?? []).map(({ key, value }) => [key, value]))
    expect(valuesOf('params')).toEqual({ units: '8', rate: '0.1', seed: '7' })
    expect(valuesOf('metrics')).toMatchObject({ auc: 0.8, loss: 0.25 })
    expect(valuesOf('tags')).toMatchObject({
      'tenure.snapshot': `sha256:${model}`,
      'tenure.code': 'other',
      'tenure.dependencies': 'd',
      'tenure.verdict': 'better',
      'tenure.version': version,
    })
    const { registered_model: found } = await get(`registered-models/get?name=${model}`)
    expect((found as { latest_versions: object[] }).latest_versions).toMatchObject([
      { version: '1', source: 'tenure://artifacts/sha256:a', run_id: (info as { run_id: string }).run_id },
    ])
  })

  it('updates the aliases when the serving versions change', async () => {
    const [first, second] = [`${model}_v1.0.0`, (await trained(model, 1)).version]
    const move = (to: string, from?: string) =>
      moveChampion(store, {
        model,
        to,
        from,
        cause: 'promotion',
        actor: 'a',
        reason: 'r',
      })
    await telling(deps, async () => {
      await move(first)
      await told('mlflow')
      expect(await aliases()).toEqual({ champion: '1' })
      const id = await release(model, second)
      await told('mlflow')
      expect(await aliases()).toEqual({ champion: '1', challenger: '2' })
      await move(second, first)
      await endRelease(id, 'promoted')
      await told('mlflow')
      expect(await aliases()).toEqual({ champion: '2' })
      await store.query(sql`update versions set rolled_back_at = now() where version = ${first}`)
      await told('mlflow')
    })
    const { model_versions: versions } = await get(
      `model-versions/search?max_results=1&filter=${encodeURIComponent(`name = '${model}' and tags.\`tenure.version\` = '${first}'`)}`,
    )
    expect((versions as unknown as { tags: object[] }[])[0]?.tags).toContainEqual({
      key: 'tenure.status',
      value: 'rolled_back',
    })
  })

  it('stores a redelivered event once', async () => {
    await store.query(sql`update integration_outbox set next_at = now(), sent_at = null where kind <> 'event' and id in (
      select max(id) from integration_outbox group by kind, subject)`)
    await telling(deps, () => told('mlflow'))
    expect(await runOf(`trn_${model}_0`)).toHaveLength(1)
    expect(await aliases()).toEqual({ champion: '2' })
  })
})

describe('an unavailable integration', () => {
  it('receives every queued event after it recovers', async () => {
    const server = await startReceiver()
    const { port } = new URL(server.url)
    await server.stop()
    const model = uniqueName('away')
    const deps = depsOf({ TENURE_MLFLOW_URL: server.url })
    await telling(deps, async () => {
      await trained(model, 0)
      await until(async () => {
        const [row] = await store.query<{ tried: number }>(
          sql`select max(attempts) as tried from integration_outbox where target = 'mlflow' and next_at is not null`,
        )
        return (row?.tried ?? 0) >= 3
      }, 'three attempts')
      expect((await countBacklog(store, 'mlflow')).waiting).toBeGreaterThan(0)
      const back = await startReceiver({ port: Number(port) })
      await told('mlflow')
      expect(back.asked).toContain('POST model-versions/create')
      await back.stop()
    })
  })

  it('is retried after failures, and a lasting failure raises an alert', async () => {
    const server = await startReceiver({ token: 'secret' })
    server.failWith(500)
    await trained(uniqueName('failing'), 0)
    const deps = depsOf({ TENURE_MLFLOW_URL: server.url, TENURE_MLFLOW_TOKEN: 'secret' })
    const matters = async () => (await listAlerts(store, { open: true })).map(({ kind }) => kind)
    await telling(
      deps,
      async () => {
        await until(async () => (await matters()).includes('mirror_behind'), 'an alert')
        server.failWith(undefined)
        await told('mlflow')
        await until(async () => (await matters()).length === 0, 'the end of the alert')
      },
      { lateMs: 1 },
    )
    await server.stop()
  })

  it('drops an event that it rejects repeatedly, and no other event', async () => {
    const server = await startReceiver({ token: 'secret' })
    const { training } = await trained(uniqueName('refused'), 0)
    const stateOf = async () => {
      const [row] = await store.query<{ attempts: number; given_up_at: Date | null; problem: string }>(
        sql`select attempts, given_up_at, problem from integration_outbox where kind = 'training' and subject = ${training}`,
      )
      return row
    }
    // A wrong key may be corrected.
    await telling(depsOf({ TENURE_MLFLOW_URL: server.url, TENURE_MLFLOW_TOKEN: 'wrong' }), () =>
      until(async () => ((await stateOf())?.attempts ?? 0) > policy.refusals, 'many attempts'),
    )
    expect(await stateOf()).toMatchObject({
      given_up_at: null,
      problem: expect.stringMatching(/responded 401/),
    })
    server.failWith(400)
    await telling(depsOf({ TENURE_MLFLOW_URL: server.url }), () =>
      until(async () => (await stateOf())?.given_up_at != null, 'it to be given up'),
    )
    await store.query(sql`delete from integration_outbox`)
    await server.stop()
  })

  it('delays no training, and queues no events when it is not configured', async () => {
    await store.query(sql`delete from integrations`)
    await trained(uniqueName('unmirrored'), 0)
    expect(await store.query(sql`select from integration_outbox`)).toEqual([])
    await renewIntegrations(store, ['mlflow', 'openlineage'])
    await store.query(sql`update integrations set renewed_at = now() - interval '31 days'`)
    await trained(uniqueName('unmirrored'), 0)
    expect(await store.query(sql`select from integration_outbox`)).toEqual([])
    await renewIntegrations(store, ['mlflow', 'openlineage'])
  })
})

describe('OpenLineage', () => {
  interface Event {
    eventType: string
    eventTime: string
    producer: string
    schemaURL: string
    run: { runId: string; facets: Record<string, Facet> }
    job: { namespace: string; name: string; facets: Record<string, Facet> }
    inputs: Dataset[]
    outputs: Dataset[]
  }
  type Facet = { _producer: string; _schemaURL: string } & Record<string, unknown>
  interface Dataset {
    namespace: string
    name: string
    facets: Record<string, Facet>
    outputFacets?: Record<string, Facet>
  }
  let receiver: Server
  let events: Event[] = []
  let deps: Deps
  beforeAll(async () => {
    receiver = createServer((request, response) => {
      let text = ''
      request.on('data', (chunk: Buffer) => (text += chunk.toString()))
      request.on('end', () => {
        const isRight = request.url === '/api/v1/lineage' && request.method === 'POST'
        if (isRight) events.push(JSON.parse(text) as Event)
        response.writeHead(isRight ? 201 : 404).end()
      })
    })
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
    deps = depsOf({ TENURE_OPENLINEAGE_URL: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}` })
  })
  afterAll(() => new Promise((resolve) => receiver.close(resolve)))

  const isUri = (text: string) => expect(() => new URL(text)).not.toThrow()
  /** Checks the requirements of the spec for every event, facet and dataset (OpenLineage 2-0-2). */
  function expectValid(event: Event): void {
    expect(lineageTypes).toContain(event.eventType)
    expect(new Date(event.eventTime).toISOString()).toBe(event.eventTime)
    expect(event.run.runId).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    )
    expect(event.job.namespace).toBe('tenure')
    expect(lineageJobs.map(String)).toContain(event.job.name.split('.').at(-1))
    for (const uri of [event.producer, event.schemaURL]) isUri(uri)
    const datasets = [...event.inputs, ...event.outputs]
    for (const { namespace, name } of datasets)
      expect([namespace, name].every((text) => text !== '')).toBe(true)
    const facets = [
      event.run.facets,
      event.job.facets,
      ...datasets.flatMap((each) => [each.facets, each.outputFacets ?? {}]),
    ]
    for (const each of facets.flatMap((all) => Object.values(all))) {
      isUri(each._producer)
      isUri(each._schemaURL)
    }
  }

  it('receives valid events for each step in order', async () => {
    await store.query(sql`delete from integration_outbox`)
    const model = uniqueName('lineage')
    const { training, version } = await trained(model, 0)
    const snapshot = `sha256:${model}`
    const definition = {
      source: { kind: 'csv', files: { rows: 'models/data/iris.csv' }, rows: 'select * from rows' },
    }
    await store.query(sql`update models set definition = ${JSON.stringify(definition)} where name = ${model}`)
    const run = <T>(step: (input: object) => Promise<T>) =>
      new MockActivityEnvironment({ attempt: 1, activityId: uniqueName('a') }).run(step, {})
    await run(
      withLineage(
        deps,
        'snapshot',
        (_input, made) => ({ model, snapshot: made }),
        () => Promise.resolve(snapshot),
      ),
    )
    await run(
      withLineage(
        deps,
        'training',
        () => ({ model, snapshot, training }),
        () => Promise.resolve(),
      ),
    )
    await run(
      withLineage(
        deps,
        'evaluation',
        () => ({ model, training, evaluation: `e-${version}` }),
        () => Promise.resolve(),
      ),
    )
    const failing = withLineage(
      deps,
      'training',
      () => ({ model, snapshot, training }),
      () => Promise.reject(new DomainError('training_failed', 'postgres://u:hidden@db was lost')),
    )
    await expect(run(failing)).rejects.toMatchObject({ code: 'training_failed' })
    const promoted = await release(model, version)
    await endRelease(promoted, 'promoted')
    const slower = await release(model, version)
    await endRelease(slower, 'rolled_back')
    const stopped = await release(model, version)
    await endRelease(stopped, 'aborted')
    events = []
    await telling(deps, () => told('openlineage'))
    events.forEach(expectValid)
    // In order within a run; runs are reported in parallel.
    const runs = new Map(events.map(({ run: { runId } }) => [runId, [] as Event[]]))
    for (const event of events) runs.get(event.run.runId)?.push(event)
    events = [...runs.values()].flat()
    expect(events.map(({ eventType, job }) => `${eventType} ${job.name.split('.').at(-1)}`)).toEqual([
      'START snapshot',
      'COMPLETE snapshot',
      'START training',
      'COMPLETE training',
      'START evaluation',
      'COMPLETE evaluation',
      'START training',
      'FAIL training',
      'START release',
      'COMPLETE release',
      'START release',
      'FAIL release',
      'START release',
      'ABORT release',
    ])
    const [, taken, , fitted, , judged, , failed, , live, , back] = events as [
      Event,
      Event,
      Event,
      Event,
      Event,
      Event,
      Event,
      Event,
      Event,
      Event,
      Event,
      Event,
    ]
    expect(taken.run.runId).toBe(events[0]?.run.runId)
    expect(new Set(events.map((event) => event.run.runId)).size).toBe(7)
    expect(taken).toMatchObject({
      inputs: [{ namespace: 'file', name: 'models/data/iris.csv' }],
      outputs: [
        {
          name: `${model}/snapshot`,
          facets: {
            version: { datasetVersion: snapshot },
            schema: { fields: [{ name: 'x', type: 'DOUBLE' }] },
          },
          outputFacets: { outputStatistics: { rowCount: 2, size: 10 } },
        },
      ],
      job: { facets: { sql: { query: 'select * from rows' } } },
    })
    expect(fitted).toMatchObject({
      inputs: [{ facets: { version: { datasetVersion: snapshot } } }],
      outputs: [{ name: `${model}/artifact`, facets: { version: { datasetVersion: 'sha256:a' } } }],
    })
    expect(judged.outputs[0]?.facets['tenure_evaluation']).toMatchObject({
      verdict: 'better',
      metrics: { auc: 0.8 },
    })
    expect(failed).toMatchObject({
      outputs: [],
      run: { facets: { errorMessage: { message: expect.stringContaining('was lost') } } },
    })
    expect(JSON.stringify(failed)).not.toContain('hidden')
    expect(live).toMatchObject({ run: { runId: uuidOf(promoted) }, outputs: [{ name: `${model}/champion` }] })
    expect(back).toMatchObject({
      outputs: [],
      run: { facets: { errorMessage: { message: 'it was slower' } } },
    })
  })
})
