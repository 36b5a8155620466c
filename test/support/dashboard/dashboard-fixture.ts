/**
 * Starts a replica on real servers with a champion, a challenger with a real gate report, and keys of all roles. Every text from
 * outside may contain hostile markup.
 */
import type { Servers } from '../servers/servers.ts'
import { pino } from 'pino'
import sql from 'sql-template-tag'
import { startServer, type RunningServer } from '../../../api/server.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import { gateMarkdown } from '../../../domain/evaluation/report-markdown.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { judgeGate, type GateReport } from '../../../domain/evaluation/gate.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { seededRandom } from '@tenure/sequential'
import type { Role } from '../../../domain/roles.ts'
import { resolveAlert, upsertAlert } from '../../../store/monitoring/alerts.ts'
import { insertKey } from '../../../store/access/api-keys.ts'
import type { Store } from '../../../store/postgres.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { releaseIdOf } from '../../../domain/release/state.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import type { release as releaseWorkflow } from '../../../workflows/release.ts'
import { waitUntil } from '../serving/api-process.ts'
import { insertModel, type Registry } from '../release/candidates.ts'
import { snapshotOf } from '../serving/registration.ts'
import { startCore, type Core } from '../release/core.ts'
import { seatChampion } from '../serving/seed-champion.ts'
import { addressesOf, emptyModel } from './page-texts.ts'
import { seedHalfYear } from './half-year-rows.ts'
import { seedReviews, seedSweep, seedTriggers } from './training-rows.ts'
import { orderedStart } from '../commands/signed.ts'

/** Sets `window.hurt` when a page runs it as markup. */
/** A name of a model may have 63 letters, and no place to break. */
const longestName = 'm'.repeat(63)

export const hostileMarkup = `"><img src=x onerror="window.hurt=1"><script>window.hurt=1</script><svg onload=window.hurt=1>`

export interface DashboardFixture {
  core: Core
  server: RunningServer
  url: string
  model: string
  champion: string
  candidate: string
  /** Also has viewers limited to one model: `nina` to a model without data, `ina` to a model that does not exist. */
  keys: Record<'anna' | 'ben' | 'vera' | 'olga' | 'root' | 'nina' | 'ina', string>
  /** The id of a retraining whose challenger the gate refused. */
  refused: string
  registry: Registry
  /** Starts the release of a version and returns its id once it awaits approval. */
  release(version: string, policy?: ReleasePolicy): Promise<string>
  /** Starts continuous prediction requests and returns a function that stops them. */
  startTraffic(): () => Promise<void>
  /** Returns the concrete path of each page, by its declared path. */
  pathsOfPages(release: string): Record<string, string>
  close(): Promise<void>
}

const step = { minMs: 0, minRequests: 20, deadlineMs: 600_000 }
/** Each stage needs traffic to advance, so a test sees each one. */
export const fixturePolicy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 600_000 },
  stages: [
    { ...step, shareBp: 1_000 },
    { ...step, shareBp: 5_000 },
  ],
  probation: { ...step, holdbackBp: 1_000 },
  watch: { tickMs: 100, everyMs: 100, exposureMs: 15_000, acknowledgeMs: 15_000, decisionMs: 600_000 },
  limits: {
    ...defaultCanaryPolicy,
    maxStaleMs: 60_000,
    promotion: 'off',
    srm: 'off',
    scoreShift: 'off',
    disagreement: 'off',
  },
}

export interface DashboardOptions {
  /** Its own in each file of tests: the files share Temporal, where a model has one release at a time. */
  model: string
  /** Inserted into every text from outside. */
  hostile?: string
}

export async function openDashboard(
  servers: Servers,
  { model, hostile = '' }: DashboardOptions,
): Promise<DashboardFixture> {
  const core = await startCore(servers)
  const { config, store } = core
  const registry = await insertModel(store, {
    model,
    policy: fixturePolicy,
    artifactRoot: config.artifactRoot,
  })
  const champion = await registry.register()
  await seatChampion(store, model, champion)
  const candidate = await registry.register(champion)
  await seedRows(core, { model, champion, candidate, hostile })
  await insertModel(store, { model: emptyModel, policy: fixturePolicy, artifactRoot: config.artifactRoot })
  const refused = await seedRefused(store, { model, champion, hostile })
  const keys = await insertKeys(store)
  const server = await startServer(
    { ...config, api: { ...config.api, host: '127.0.0.1', port: 0, publicPredictions: true } },
    pino({ level: 'silent' }),
  )
  const { url } = server
  const stops: (() => Promise<void>)[] = []
  return {
    core,
    server,
    url,
    model,
    champion,
    candidate,
    keys,
    refused,
    registry,
    async release(version, policy = fixturePolicy) {
      const handle = await core.client.workflow.start<typeof releaseWorkflow>('release', {
        workflowId: releaseWorkflowId(model),
        taskQueue: config.taskQueues.control,
        args: [await orderedStart(core, 'release', { model, version, requestedBy: 'olga', policy })],
      })
      const id = releaseIdOf(handle.firstExecutionRunId)
      const asks = async () => (await findRelease(store, id))?.state.stage === 'awaiting_approval'
      await waitUntil(asks, `the release of ${version} awaiting approval`)
      return id
    },
    startTraffic() {
      const stopping = new AbortController()
      const calling = ask(`${url}/v1/models/${model}/predict`, stopping.signal)
      const stop = () => {
        stopping.abort()
        return calling
      }
      stops.push(stop)
      return stop
    },
    pathsOfPages: (release) => addressesOf({ model, champion, candidate, release }),
    async close() {
      await Promise.all(stops.map((stop) => stop()))
      await server.stop('test ended')
      await core.stop()
    },
  }
}

async function seedRows(
  core: Core,
  {
    model,
    champion,
    candidate,
    hostile,
  }: { model: string; champion: string; candidate: string; hostile: string },
): Promise<void> {
  const { store } = core
  const report = gateReport(hostile)
  await describe(core, { model, version: champion, report: { ...report, metrics: [], slices: [] }, hostile })
  await describe(core, { model, version: candidate, against: champion, report, hostile })
  const drifted = {
    dedupeKey: 'dashboard',
    model,
    severity: 'warning',
    kind: 'drift_warn',
    message: `Input drift (warning): hour of ${longestName}. ${hostile}`,
  } as const
  await upsertAlert(store, drifted)
  await resolveAlert(store, drifted.dedupeKey, 'measured')
  await upsertAlert(store, drifted)
  await store.query(sql`
    insert into retrainings (id, model, reason, requested_by, as_of, outcome, message, snapshot_digest, version, started_at, ended_at)
    values (${`retrain/${model}/1`}, ${model}, 'manual', 'olga', '2026-03-01T00:00:00Z', 'released',
      ${`${candidate} passed the gate: release rel_01a20355fe9a7a11ae76a2c5c112f483 started. ${hostile}`}, ${snapshotOf(model)}, ${candidate}, now() - interval '1 hour', now())`)
  await seedHalfYear(store, { model, champion, hostile })
  await seedSweep(store, { model, hostile })
  await seedTriggers(store, { model, hostile })
  await seedReviews(store, { model, version: champion })
}

/** Seeds a challenger that is worse than its champion: the same report with both sides swapped. */
async function seedRefused(
  store: Store,
  { model, champion, hostile }: { model: string; champion: string; hostile: string },
): Promise<string> {
  const id = `retrain/${model}/refused`
  const [began, ended] = [sql`now() - interval '4 hours'`, sql`now() - interval '3 hours'`]
  const report = judgedReport(hostile, 'worse')
  await store.query(sql`
    insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status, epoch, started_at)
    values ('t-refused', ${model}, ${snapshotOf(model)}, 1, 'c', 'd', 'done', 12, ${began} + interval '1 minute')`)
  await store.query(sql`
    insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, baseline_version, verdict, report, report_digest)
    values ('e-refused', ${model}, 't-refused', ${snapshotOf(model)}, 'a', ${champion}, ${report.verdict}, ${JSON.stringify(report)}, 'r')`)
  await store.query(sql`
    insert into retrainings (id, model, reason, requested_by, as_of, outcome, message, started_at, ended_at)
    values (${id}, ${model}, 'schedule', 'schedule', now(), 'not_better', ${report.reasons.map(({ message }) => message).join('; ')}, ${began}, ${ended})`)
  return id
}

async function insertKeys(store: Store): Promise<DashboardFixture['keys']> {
  const roles: Record<string, Role> = {
    anna: 'approver',
    ben: 'approver',
    vera: 'viewer',
    olga: 'operator',
    root: 'admin',
  }
  const keys = Object.entries(roles).map(async ([name, role]) => [
    name,
    (await insertKey(store, { name, role })).key,
  ])
  const readers = Object.entries({ nina: emptyModel, ina: 'no-such-model' }).map(async ([name, only]) => [
    name,
    (await insertKey(store, { name, role: 'viewer', models: [only] })).key,
  ])
  return Object.fromEntries(await Promise.all([...keys, ...readers])) as DashboardFixture['keys']
}

async function ask(address: string, signal: AbortSignal): Promise<void> {
  for (let caller = 0; !signal.aborted; caller++) {
    const body = JSON.stringify({
      instances: [{ x: caller % 7, y: 1 }],
      routing_key: `caller ${caller % 400}`,
    })
    const headers = { 'content-type': 'application/json' }
    await fetch(address, { method: 'POST', headers, body })
      .then((answer) => answer.arrayBuffer())
      .catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 4))
  }
}

const passed = {
  verdict: 'pass',
  message: 'another name changes nothing',
  rows: 9,
  failed: 0,
  examples: [],
} as const

const quality = { precision: 0.71, recall: 0.654, auc: 0.8017 }

/** Builds the report of the real gate for a challenger that is better than its champion, with slices. */
function gateReport(hostile: string): GateReport {
  return {
    ...judgedReport(hostile),
    classes: [{ name: `late ${hostile}`, rows: 700, champion: quality, challenger: quality }],
    sliceSearch: {
      metric: 'brier',
      rows: { proposing: 748, proving: 752 },
      proposed: 12,
      found: [
        {
          name: `distance < 12.5 and region = north ${hostile}`,
          rows: { proposing: 214, proving: 221 },
          champion: 0.1523,
          challenger: 0.2047,
        },
      ],
    },
    importance: {
      metric: 'auc',
      value: 0.8,
      rows: 900,
      permutations: 20,
      features: [{ feature: `hour ${hostile}`, fall: 0.1, low: 0.05, high: 0.15 }],
    },
  }
}

function judgedReport(hostile: string, challenger: 'better' | 'worse' = 'better'): GateReport {
  const random = seededRandom(7)
  const rows = 1_500
  const truth = Array.from({ length: rows }, () => random())
  const y = truth.map((chance) => Number(random() < chance))
  const seen = (blur: number) =>
    truth.map((chance) => [Math.min(0.99, Math.max(0.01, chance + (random() - 0.5) * blur))])
  const third = (part: number) => y.flatMap((_, row) => (row % 3 === part ? [row] : []))
  return judgeGate(
    {
      y,
      champion: seen(challenger === 'better' ? 1.1 : 0.6),
      challenger: seen(challenger === 'better' ? 0.6 : 1.1),
      slices: [
        { name: 'evening', rows: third(0) },
        { name: `weekend ${hostile}`, rows: third(1) },
        { name: 'short distance', rows: third(2).slice(0, 90) },
      ],
      testSetUses: 25,
      tests: [{ name: `by name ${hostile}`, kind: 'invariance', challenger: passed, champion: passed }],
    },
    { ...defaultGatePolicy('binary'), resamples: 300, guards: ['brier'], floors: { auc: 0.6 } },
  )
}

/** Stores the lineage, validation and evaluation of a version as the pipeline does. */
async function describe(
  { store }: Core,
  {
    model,
    version,
    against,
    report,
    hostile,
  }: { model: string; version: string; against?: string; report: GateReport; hostile: string },
): Promise<void> {
  const validationId = `val-${version}`
  const results = [
    {
      check: 'complete',
      subject: 'x',
      severity: 'warn',
      passed: false,
      message: `x is missing in 3 rows ${hostile}`,
    },
  ]
  await store.query(sql`
    insert into validations (id, model, snapshot_digest, verdict, report)
    values (${validationId}, ${model}, ${snapshotOf(model)}, 'warn', ${JSON.stringify({ results })})`)
  const lineage = {
    snapshot: snapshotOf(model),
    asOf: '2026-03-01T00:00:00.000Z',
    code: `sha256:${'c'.repeat(64)}`,
    dependencies: `sha256:${'d'.repeat(64)}`,
    hyperparameters: { epochs: 12, rate: 0.01, ...(hostile === '' ? {} : { note: hostile }) },
    seed: 1,
    metrics: { auc: report.metrics[0]?.challenger ?? 0.71 },
    rows: { train: 6_000, test: 1_500 },
    validationId,
    trainingId: `t-${version}`,
    evaluationId: `e-${version}`,
    retrainingId: 'retrain/1',
    requestedBy: 'olga',
    reason: 'manual',
    baseline: against,
  }
  const subject = { model, challenger: version, champion: against }
  const curve = Array.from({ length: 12 }, (_, i) => ({ epoch: i + 1, loss: 0.4 + 0.3 / (i + 1) }))
  await store.query(sql`
    update trainings set epoch = 12, curve = ${JSON.stringify(curve)}, ended_at = started_at + interval '26 seconds',
      hyperparameters = '{"epochs": 12, "rate": 0.01}'
    where id = ${`t-${version}`}`)
  await store.query(sql`update versions set lineage = ${JSON.stringify(lineage)} where version = ${version}`)
  await store.query(sql`
    update evaluations set report = ${JSON.stringify(report)}, page = ${gateMarkdown(report, subject)}
    where id = ${`e-${version}`}`)
  await store.query(sql`
    update models set definition = definition || ${JSON.stringify({ about: `Will it be late? ${hostile}`, evaluation: { policy: report.policy, slices: [], groups: [] } })}
    where name = ${model}`)
}
