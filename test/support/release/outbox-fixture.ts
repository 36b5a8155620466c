/** Starts a replica whose links to Temporal and Postgres can be cut, a worker behind the links, and releases that await approval. */
import sql from 'sql-template-tag'
import { deliverDue, deliveryPolicy } from '../../../api/services/command-delivery.ts'
import { callTimeoutMs } from '../../../api/temporal/client.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { insertModel, type Registry } from './candidates.ts'
import { startCore, type Core } from './core.ts'
import { openCuttableLink, type CuttableLink } from '../servers/cuttable-link.ts'
import { migratedDatabase, temporalAddress, uniqueName } from '../servers/servers.ts'
import { startedBy } from '../servers/started.ts'
import {
  servingFixtureOn,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
  type TestResponse,
} from '../serving/serving-fixture.ts'

const policy: ReleasePolicy = {
  strategy: 'direct',
  approval: { approvers: 2, withinMs: 3_600_000 },
  stages: [],
  watch: { tickMs: 50, everyMs: 100, exposureMs: 2_000, acknowledgeMs: 2_000, decisionMs: 60_000 },
  limits: { ...defaultCanaryPolicy, maxStaleMs: 5_000, promotion: 'off', srm: 'off' },
}

export interface OutboxFixture {
  core: Core
  fixture: ServingFixture
  api: TestApi
  keys: Readonly<Record<string, string>>
  toTemporal: CuttableLink
  toPostgres: CuttableLink
  say(who: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<TestResponse>
  show(path: string, who?: string): Promise<Record<string, unknown>>
  approve(who: string, release: string, body?: object, once?: string): Promise<TestResponse>
  /** Restores the link to Temporal and waits until Temporal responds. Commands sent earlier are in the outbox. */
  back(): Promise<void>
  /** Creates a model without a version. */
  model(): Promise<Registry>
  /** Returns what a request has started, also when a busy machine has deferred it. */
  started(answer: Record<string, unknown>): Promise<{ id: string; run_id?: string; message?: string }>
  /** Starts a release and returns its id, also when a busy machine defers the start. */
  release(model: string, version: string): Promise<string>
  /** Starts the first release of a new model, which waits for two approvals. */
  waiting(): Promise<{ id: string; model: string }>
  /** Returns the recorded commands of a release and its audit rows. */
  count(release: string, action?: string): Promise<number>
  /** Sends the commands that are due. */
  deliver(): Promise<boolean>
  /** Sends due commands until this command is sent. */
  send(command: string): Promise<void>
  /** Makes every postponed command due. */
  dueNow(): Promise<void>
  answered(command: string): Promise<void>
  close(): Promise<void>
}

export async function openOutboxFixture(): Promise<OutboxFixture> {
  const databaseUrl = await migratedDatabase()
  const core = await startCore({ databaseUrl, temporalAddress: temporalAddress() })
  const fixture = servingFixtureOn({ databaseUrl, artifactRoot: core.config.artifactRoot })
  const keys: Record<string, string> = {
    otto: await fixture.key({ name: 'otto', role: 'approver', models: ['another'] }),
  }
  for (const [name, role] of [
    ['olga', 'operator'],
    ['anna', 'approver'],
    ['ben', 'approver'],
    ['vera', 'viewer'],
  ] as const)
    keys[name] = await fixture.key({ name, role })
  const toTemporal = await openCuttableLink(`tcp://${core.config.temporal.address}`)
  const toPostgres = await openCuttableLink(databaseUrl)
  const api = await startApi(fixture, {
    databaseUrl: toPostgres.url,
    deadlines: 'as served',
    temporal: {
      address: new URL(toTemporal.url).host,
      namespace: core.config.temporal.namespace,
      controlQueue: core.config.taskQueues.control,
    },
  })
  const say: OutboxFixture['say'] = (who, path, body = {}, headers = {}) =>
    api.request('POST', path, { key: keys[who]!, body, headers })
  const show: OutboxFixture['show'] = async (path, who = 'vera') =>
    (await api.request('GET', path, { key: keys[who]! })).json
  const model = () =>
    insertModel(fixture.store, { model: uniqueName('model'), policy, artifactRoot: core.config.artifactRoot })
  const deliver = () => deliverDue(api.deps, { ...deliveryPolicy, lookMs: 10 })
  const dueNow = async () => {
    // Without the rows that a delivery holds, which locks several in an order of its own.
    await fixture.store.query(sql`
      update commands set next_at = now()
      where id in (select id from commands where next_at is not null for update skip locked)`)
  }
  const send: OutboxFixture['send'] = (command) =>
    until(async () => {
      await dueNow()
      await deliver()
      return (await show(`/v1/commands/${command}`))['state'] !== 'waiting'
    }, 'the delivery')
  // No replica delivers here, so that tests see when it happens.
  const started: OutboxFixture['started'] = (answer) =>
    startedBy(answer as { id: string }, async (path) => {
      await dueNow()
      await deliver()
      return show(path)
    })
  const release: OutboxFixture['release'] = async (name, version) => {
    const once = { 'idempotency-key': uniqueName('once') }
    let answer: TestResponse | undefined
    // A busy machine may refuse the command without recording it.
    await until(async () => {
      answer = await say('olga', '/v1/releases', { model: name, version }, once)
      return answer.status < 500
    }, 'the start')
    const { status, text, json } = answer!
    if (status !== 202) throw new Error(`the start of ${version}: ${status} ${text}`)
    return (await started(json)).id
  }
  return {
    core,
    fixture,
    api,
    keys,
    toTemporal,
    toPostgres,
    say,
    show,
    approve: (who, release, body = {}, once = uniqueName('once')) =>
      say(who, `/v1/releases/${release}/approve`, body, { 'idempotency-key': once }),
    back() {
      toTemporal.mend()
      const ask = () =>
        api.deps.temporal.call(callTimeoutMs, ({ workflowService }) => workflowService.getSystemInfo({}))
      return until(
        () =>
          ask().then(
            () => true,
            () => false,
          ),
        'Temporal',
      )
    },
    model,
    started,
    release,
    async waiting() {
      const { model: name, register } = await model()
      const id = await release(name, await register())
      await until(async () => (await show(`/v1/releases/${id}`))['stage'] === 'awaiting_approval', 'its turn')
      return { id, model: name }
    },
    async count(release, action) {
      const [row] = await fixture.store.query<{ n: number }>(
        action === undefined
          ? sql`select count(*)::int as n from commands where release_id = ${release}`
          : sql`select count(*)::int as n from audit where subject = ${release} and action = ${action}`,
      )
      return row!.n
    },
    deliver,
    send,
    dueNow,
    answered: (command) =>
      until(async () => (await show(`/v1/commands/${command}`))['answered_at'] !== undefined, 'the answer'),
    async close() {
      await api.stop()
      await Promise.all([toTemporal.close(), toPostgres.close()])
      await fixture.close()
      await core.stop()
    },
  }
}
