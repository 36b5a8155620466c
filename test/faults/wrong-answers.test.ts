/**
 * Tests on real processes that a candidate with wrong answers is detected before the first outcome: a number that is off by a factor of
 * ten, and decisions that flip in one slice. Late outcomes still end a probation correctly.
 */
import sql from 'sql-template-tag'
import { writeFileSync } from 'node:fs'
import { Agent, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { sendJson } from '../../cli/demo/replay.ts'
import { businessAlpha } from '../../domain/canary/alpha-split.ts'
import { defaultCanaryPolicy } from '../../domain/canary/policy.ts'
import { defaultGatePolicy } from '../../domain/evaluation/policy.ts'
import { defaultMonitorPolicy, type MonitorPolicy } from '../../domain/monitoring/policy.ts'
import { numberProfile } from '../../domain/model/reference-profile.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { canary, percent, promql } from '../../models/define.ts'
import { compileRelease } from '../../models/define/release.ts'
import { findLabelTime } from '../../store/monitoring/monitor-windows.ts'
import { listDecisions } from '../../store/release/decisions.ts'
import { findAnswerEvidence } from '../../store/release/evidence.ts'
import { openStore } from '../../store/postgres.ts'
import { startMonitor } from '../../workflows/client/permanent-workflows.ts'
import { monitorWorkflowId, releaseWorkflowId } from '../../workflows/messages.ts'
import { insertModel, insertPeople, type Registry } from '../support/release/candidates.ts'
import { fixtureRelease, type FixtureRelease } from '../support/release/release-fixture.ts'
import { orderedStart } from '../support/commands/signed.ts'
import { putArtifact, type ArtifactSpec } from '../support/serving/artifact.ts'
import { insertKnownKey, startRealSystem, type RealSystem } from '../support/servers/system-fixture.ts'

const stage = { minMs: 2_000, minRequests: 600, deadlineMs: 200_000 }
const policy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 200_000 },
  shadow: { ...stage, shareBp: 10_000 },
  stages: [{ ...stage, shareBp: 2_000 }],
  watch: { tickMs: 200, everyMs: 200, exposureMs: 5_000, acknowledgeMs: 20_000, decisionMs: 200_000 },
  // A busy machine responds late at random; this test is about the answers.
  limits: { ...defaultCanaryPolicy, maxStaleMs: 20_000, promotion: 'off', srm: 'off', slowRatio: 1e6 },
}

let system: RealSystem
let ownerUrl: string | undefined
const agent = new Agent({ keepAlive: true })
/** Sends requests without `fetch`, which takes three times the CPU time; the test sends thousands. */
const send = <Body>(url: string, body: object, headers: Record<string, string> = {}) =>
  sendJson<Body>(agent, url, body, { timeoutMs: 200_000, headers })
let key: string
beforeAll(async () => {
  system = await startRealSystem({
    replicas: 2,
    leaseMs: 5_000,
    async changes(core) {
      ownerUrl = core.ownerDatabaseUrl
      return (spec) => spec
    },
  })
  await insertPeople(system.store, { anna: 'approver', olga: 'operator' })
  key = await insertKnownKey(system, { name: 'vera', role: 'viewer' })
})
afterAll(() => system?.stop())
afterAll(() => agent.destroy())

let callers: Callers | undefined
afterEach(async (context) => {
  await callers?.stop()
  callers = undefined
  if (context.task.result?.state === 'fail') process.stderr.write(`${system.lines.slice(-60).join('\n')}\n`)
})

const fits = ['x', 'evening'].map((name) => ({ name, kind: 'number' as const, mean: 0, std: 1, fill: 0 }))
const spec = (
  model: string,
  output: ArtifactSpec['output'],
  [a, b, bias]: readonly [number, number, number],
): ArtifactSpec => ({
  model,
  features: { x: { kind: 'number' }, evening: { kind: 'number' } },
  output,
  preprocessing: fits,
  layers: [
    { units: 1, activation: output.kind === 'number' ? 'linear' : 'sigmoid', kernel: [a, b], bias: [bias] },
  ],
  golden: [
    { x: 0.5, evening: 0 },
    { x: -0.5, evening: 1 },
  ],
})

/** Registers the weights as a version, with the champion's training scores: 90 to 110. */
async function register(registry: Registry, given: ArtifactSpec, against?: string): Promise<string> {
  const score = numberProfile(
    'score',
    Array.from({ length: 101 }, (_, i) => 90 + i / 5),
  )
  const profile = { rows: 101, features: [], score }
  const digest = await putArtifact(system.config.artifactRoot, given, (manifest) => ({
    ...manifest,
    ...(given.output.kind === 'number' && { profile }),
  }))
  return registry.register(against, digest)
}

interface Callers {
  answered: Map<string, number>
  stop(): Promise<void>
}

async function start(
  version: string,
  model: string,
  changed: ReleasePolicy = policy,
): Promise<FixtureRelease> {
  const handle = await system.client.workflow.start('release', {
    workflowId: releaseWorkflowId(model),
    taskQueue: system.config.taskQueues.control,
    args: [await orderedStart(system, 'release', { model, version, requestedBy: 'olga', policy: changed })],
  })
  const release = fixtureRelease(system, handle)
  await release.reaches('awaiting_approval').catch(async (error: Error) => {
    const { reason } = await release.result()
    throw new Error(`${error.message}: ${reason}`)
  })
  await release.say('approve', 'anna')
  return release
}

/** Creates a model with its first version as champion and releases the candidate into the shadow, with requests of new users. */
async function inShadow(
  model: string,
  champion: ArtifactSpec,
  candidate: ArtifactSpec,
  changed: ReleasePolicy = policy,
  seen?: (user: string, version: string, champion: string) => Promise<unknown>,
) {
  const registry = await insertModel(system.store, {
    model,
    policy,
    artifactRoot: system.config.artifactRoot,
  })
  const first = await register(registry, champion)
  expect(
    await (
      await start(first, model, { ...policy, strategy: 'direct', shadow: undefined, stages: [] })
    ).result(),
  ).toMatchObject({ outcome: 'promoted' })
  const version = await register(registry, candidate, first)
  callers = ask(model, seen && ((user, by) => seen(user, by, first)))
  return { first, version, release: await start(version, model, changed) }
}

/** Sends predictions of new users. Calls `seen` with the user and the version after each response. */
function ask(model: string, seen?: (user: string, version: string) => Promise<unknown>): Callers {
  const answered = new Map<string, number>()
  let isOver = false
  let user = 0
  const running = system.urls.map(async (url) => {
    while (!isOver) {
      const mine = user++
      const row = { x: ((mine * 7) % 20) / 10 - 0.95, evening: mine % 4 === 0 ? 1 : 0 }
      const { status, body } = await send<{ version?: string; code?: string }>(
        `${url}/v1/models/${model}/predict`,
        { instances: [row], routing_key: `user ${mine}` },
      )
      const { version = `${status}`, code } = body
      // A replica on a busy machine refuses requests that have waited for 250 ms.
      if (code === 'overloaded') continue
      answered.set(version, (answered.get(version) ?? 0) + 1)
      await seen?.(`user ${mine}`, version)
      await pause(5)
    }
  })
  return {
    answered,
    stop: async () => {
      isOver = true
      await Promise.all(running)
    },
  }
}

it('a number that is off by a factor of ten holds the shadow for an approver, and no caller receives it', async () => {
  const model = 'price'
  const output = { kind: 'number' } as const
  const { first, version, release } = await inShadow(
    model,
    spec(model, output, [10, 0, 100]),
    spec(model, output, [100, 0, 1_000]),
  )
  await release.reaches('awaiting_decision')
  expect((await release.state()).lastVerdict?.questions).toEqual(['disagreement'])
  await release.say('reject', 'anna')
  expect(await release.result()).toMatchObject({ outcome: 'rolled_back' })
  expect((await release.state()).routings.map(({ stage: at }) => at)).toEqual(['shadow'])
  await callers!.stop()
  expect([...callers!.answered.keys()]).toEqual([first])
  expect(version).not.toBe(first)
})

/** Its answers are not compared with the champion's: they may differ. */
const ownAnswers: ReleasePolicy = {
  ...policy,
  limits: { ...policy.limits, scoreShift: 'off', disagreement: 'off' },
}

it('a candidate that serves other answers than its artifact gives is rolled back in the shadow by its first rows', async () => {
  const model = 'rent'
  const output = { kind: 'number' } as const
  // Planted by the owner of the database, behind what the replicas have computed.
  const owner = openStore(ownerUrl!, { onError: () => {} })
  await owner.query(sql`
    create function plant_rent() returns trigger language plpgsql as $$ begin
      if new.model = 'rent' then new.outputs := array(select each * 10 from unnest(new.outputs) as each); end if;
      return new;
    end $$`)
  await owner.query(sql`
    create trigger plant_rent before insert on shadow_pairs for each row execute function plant_rent()`)
  await owner.close()
  const { first, version, release } = await inShadow(
    model,
    spec(model, output, [10, 0, 100]),
    spec(model, output, [10, 0, 100.001]),
    { ...ownAnswers, shadow: { ...stage, minRequests: 1_000_000, shareBp: 10_000 } },
  )
  expect(await release.result()).toMatchObject({
    outcome: 'rolled_back',
    reason: expect.stringMatching(
      /^what is served is not what was judged: (\d+) of \1 rows? differ from training: score in \1, as in /,
    ) as string,
  })
  expect((await release.state()).routings.map(({ stage: at }) => at)).toEqual(['shadow'])
  await callers!.stop()
  expect([...callers!.answered.keys()]).toEqual([first])
  expect(version).not.toBe(first)
})

it('a candidate whose own answers are others is promoted, and each stage says that its rows are served as judged', async () => {
  const model = 'loan'
  const output = { kind: 'probability', positive: 'yes', threshold: 0.5 } as const
  const { release } = await inShadow(
    model,
    spec(model, output, [10, 0, 0]),
    spec(model, output, [10, 0, 4]),
    ownAnswers,
  )
  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  const passed = (await listDecisions(system.store, release.id)).filter(
    ({ verdict: { kind } }) => kind === 'pass',
  )
  expect(passed.map(({ stage: at }) => at).toSorted()).toEqual(['canary', 'shadow'])
  for (const { verdict } of passed)
    expect(verdict.reasons[0]!.message).toMatch(
      /no regression; \d+ rows served as judged, at most [\d.]+ % differ$/,
    )
})

it('a candidate whose users buy less is rolled back by their events, although all its responses are valid', async () => {
  const model = 'offer'
  const output = { kind: 'probability', positive: 'yes', threshold: 0.5 } as const
  const seller = await insertKnownKey(system, { name: 'shop', role: 'labeller' })
  const sells: ReleasePolicy = {
    ...policy,
    shadow: undefined,
    stages: [{ ...stage, shareBp: 5_000, minRequests: 100_000 }],
    limits: {
      ...policy.limits,
      alpha: businessAlpha,
      business: {
        conversion: {
          event: 'purchase',
          counts: 'any',
          min: 0,
          max: 1,
          withinMs: 1_000,
          delayMs: 500,
          lowerIsBetter: false,
          action: 'rollback',
        },
      },
    },
  }
  const statuses = new Set<number>()
  const { first, release } = await inShadow(
    model,
    spec(model, output, [10, 0, 0]),
    spec(model, output, [10, 0, 0.01]),
    sells,
    async (user, version, champion) => {
      // Half of the champion's users buy, and almost none of the candidate's.
      if (Number(user.slice(5)) % (version === champion ? 2 : 20) > 0) return
      const purchase = { routing_key: user, model, name: 'purchase', occurred_at: new Date().toISOString() }
      const tell = async () =>
        (await send(`${system.urls[0]}/v1/events`, purchase, { authorization: `Bearer ${seller}` })).status
      let status = await tell()
      // A replica returns this when Postgres is busy, and the shop retries.
      while (status === 503) status = await tell()
      statuses.add(status)
    },
  )
  expect(await release.result()).toMatchObject({
    outcome: 'rolled_back',
    reason: expect.stringMatching(
      /^conversion is worse: 0(\.\d+)? per user of \d+ canary users, control 0\.\d+ of \d+/,
    ) as string,
  })
  expect([...statuses]).toEqual([200])
  const { business } = await findAnswerEvidence(system.store, release.id)
  expect(business).toMatchObject([
    { name: 'conversion', event: 'purchase', gain: expect.any(Number) as number },
  ])
  expect(business![0]!.gain).toBeLessThan(-0.5)
  await callers!.stop()
  expect(callers!.answered.get(first)).toBeGreaterThan(50)
})

it('a candidate that an external metric judges worse is rolled back, and while the external system is unavailable an approver is asked', async () => {
  const model = 'payment'
  const output = { kind: 'probability', positive: 'yes', threshold: 0.5 } as const
  let isAway = true
  let candidate = ''
  const metrics = createServer((request, response) => {
    const of = new URL(request.url!, 'http://prometheus').searchParams.get('query')
    const value = [Date.now() / 1_000, of === candidate ? '0.9' : '0.1']
    const data = { resultType: 'vector', result: [{ metric: {}, value }] }
    response.writeHead(isAway ? 503 : 200).end(JSON.stringify({ status: 'success', data }))
  })
  await new Promise<void>((done) => metrics.listen(0, '127.0.0.1', done))
  const url = `http://127.0.0.1:${(metrics.address() as AddressInfo).port}`
  const sources = { prometheus: { kind: 'promql', url, token: 'not-in-any-row' } }
  writeFileSync(system.config.metricSources, JSON.stringify(sources))
  const external = {
    refused: promql('prometheus', '$version', { max: 1, every: '400 ms', delay: '600 ms', minRequests: 5 }),
  }
  const { limits } = compileRelease(() => {}, canary({ stages: [percent(5)], external }))
  const measured: ReleasePolicy = {
    ...policy,
    shadow: undefined,
    stages: [{ ...stage, shareBp: 5_000, minRequests: 100 }],
    limits: { ...policy.limits, alpha: limits.alpha, external: limits.external },
  }
  const { version, release } = await inShadow(
    model,
    spec(model, output, [10, 0, 0]),
    spec(model, output, [10, 0, 0.01]),
    measured,
  )
  candidate = version
  const held = await release.reaches('awaiting_decision')
  expect(held.lastVerdict).toMatchObject({
    kind: 'inconclusive',
    reason: expect.stringMatching(
      /^refused has no value in the newest (\d+ windows|window); .*responded 503/,
    ) as string,
  })
  isAway = false
  expect(await release.result()).toMatchObject({
    outcome: 'rolled_back',
    reason: expect.stringMatching(
      /^refused is worse: 0\.9 in \d+ windows, control 0\.1: logE \d+\.\d+ ≥ 6\.908$/,
    ) as string,
  })
  const rows = await system.store.query(sql`select inputs::text, reasons::text from decisions`)
  expect(JSON.stringify(rows)).not.toContain('not-in-any-row')
  metrics.close()
})

it('a candidate that flips its decisions in one slice is held, the slice is named, and an approver decides', async () => {
  const model = 'grant'
  const output = { kind: 'probability', positive: 'yes', threshold: 0.5 } as const
  // The shares of the answers change as well, but this test is about the paired answers.
  const paired: ReleasePolicy = { ...policy, limits: { ...policy.limits, scoreShift: 'off' } }
  const registered = inShadow(
    model,
    spec(model, output, [10, 0, 0]),
    spec(model, output, [10, 1_000, 0]),
    paired,
  )
  await expect.poll(() => system.store.query(sql`select 1 from models where name = ${model}`)).toHaveLength(1)
  const slices = [
    { name: 'day', where: 'evening = 0' },
    { name: 'evening', where: 'evening = 1' },
  ]
  await system.store.query(sql`
    update models set definition = definition || ${JSON.stringify({ evaluation: { slices } })} where name = ${model}`)
  const { first, release } = await registered
  const held = await release.reaches('awaiting_decision')
  expect(held).toMatchObject({ undecidedStage: 'shadow', lastVerdict: { kind: 'inconclusive' } })
  expect(held.lastVerdict?.reason).toMatch(
    /answers differ from the champion's by more than 20 %: evening: other decisions/,
  )
  const { disagreement } = await findAnswerEvidence(system.store, release.id)
  expect(disagreement?.slices[0]).toMatchObject({ name: 'evening', above: true })
  expect(disagreement?.slices[1]).toMatchObject({ name: 'day', above: false, mean: 0 })
  expect(disagreement?.changes).toEqual([{ from: 'not yes', to: 'yes', count: expect.any(Number) as number }])
  const shown = (await (
    await fetch(`${system.urls[0]}/v1/releases/${release.id}`, {
      headers: { authorization: `Bearer ${key}` },
    })
  ).json()) as { disagreement?: { slices: { name: string }[] } }
  expect(shown.disagreement?.slices[0]?.name).toBe('evening')
  expect([...callers!.answered.keys()]).toEqual([first])

  // The approver's decision lets the release continue.
  expect(await release.say('approve', 'anna', { reason: 'the evenings were wrong before' })).toMatchObject({
    accepted: true,
    stage: 'canary',
  })
  expect((await release.state()).accepted).toContain('disagreement')
  await release.say('abort', 'anna', { reason: 'enough' })
  expect(await release.result()).toMatchObject({ outcome: 'aborted' })
})

it('outcomes that arrive ten days late, of 0.3 s each, end a probation correctly: by a rollback or a promotion', async () => {
  const model = 'claim'
  const output = { kind: 'probability', positive: 'yes', threshold: 0.5 } as const
  const lateMs = 3_000
  // Enough requests for the users of the holdback, however slowly they are answered.
  const probation = {
    holdbackBp: 3_000,
    minMs: 300,
    minRequests: 500,
    deadlineMs: 200_000,
    coverLabels: true,
  }
  const covering: ReleasePolicy = {
    ...policy,
    strategy: 'blue_green',
    shadow: undefined,
    stages: [],
    probation,
  }
  const registry = await insertModel(system.store, {
    model,
    policy: covering,
    artifactRoot: system.config.artifactRoot,
  })
  const monitor: MonitorPolicy = {
    ...defaultMonitorPolicy,
    everyMs: 500,
    settleMs: 50,
    // The probation lasts a delay and a window, so the outcomes of a whole window arrive in it, even on a loaded machine.
    spanMs: 2 * lateMs,
    countMs: lateMs,
    observedMs: 2 * lateMs + 500,
    retrain: false,
  }
  const evaluation = { policy: defaultGatePolicy('binary') }
  await system.store.query(sql`
    update models set definition = definition || ${JSON.stringify({ evaluation, monitor })} where name = ${model}`)
  const first = await register(registry, spec(model, output, [10, 0, 0]))
  const direct: ReleasePolicy = { ...covering, strategy: 'direct', probation: undefined }
  expect(await (await start(first, model, direct)).result()).toMatchObject({ outcome: 'promoted' })
  const labeller = await insertKnownKey(system, { name: 'claims', role: 'labeller' })
  // The evaluation of these versions is a row without a report; the quality judge reads its metrics.
  const evaluated = () =>
    system.store.query(
      sql`update versions set lineage = lineage || '{"metrics": {}, "rows": {"test": 1000}}' where model = ${model}`,
    )
  await evaluated()
  callers = labelled(model, labeller, lateMs)
  await startMonitor(system.client, model, system.config.taskQueues.control)
  await expect.poll(() => findLabelTime(system.store, model)).toBeGreaterThan(3 * lateMs)

  const released = async (weights: readonly [number, number, number]) => {
    const version = await register(registry, spec(model, output, weights), first)
    await evaluated()
    const release = await start(version, model, covering)
    const result = await release.result()
    const [clock] = await system.store.query<{ watched_ms: number }>(
      sql`select watched_ms from stage_clocks where release_id = ${release.id} and stage = 'probation'`,
    )
    expect((await release.state()).labelsMs).toBeGreaterThan(3 * lateMs)
    return { result, watchedMs: clock!.watched_ms }
  }
  // It responds quickly and without failures. Only the outcomes, ten days later, show that its answers are inverted.
  const wrong = await released([-10, 0, 0])
  expect(wrong.result).toMatchObject({
    outcome: 'rolled_back',
    reason: expect.stringMatching(/holdback 0\.\d+: worse by/) as string,
  })
  expect(wrong.watchedMs).toBeGreaterThan(probation.minMs)
  const right = await released([10, 0, 0.01])
  expect(right.result).toMatchObject({ outcome: 'promoted' })
  expect(right.watchedMs).toBeGreaterThanOrEqual(3 * lateMs)
  await system.client.workflow.getHandle(monitorWorkflowId(model)).terminate()
})

/** Sends requests of new users, and their outcomes this long after the responses. */
function labelled(model: string, labeller: string, lateMs: number): Callers {
  const answered = new Map<string, number>()
  const due: { atMs: number; outcome: object }[] = []
  let isOver = false
  let user = 0
  const post = async (path: string, body: object, headers: Record<string, string> = {}) => {
    type Answer = { predictions?: { id: string }[]; version?: string }
    return (await send<Answer>(`${system.urls[user % system.urls.length]!}${path}`, body, headers)).body
  }
  const asking = async () => {
    while (!isOver) {
      const mine = user++
      const instances = [1, 2, 3, 4].map((n) => ({ x: (((mine + n) * 7) % 20) / 10 - 0.95, evening: 0 }))
      const body = { instances, routing_key: `claimant ${mine}` }
      const { predictions = [], version = 'none' } = await post(`/v1/models/${model}/predict`, body)
      answered.set(version, (answered.get(version) ?? 0) + 1)
      const now = Date.now()
      for (const [i, { id }] of predictions.entries()) {
        const outcome = { prediction_id: id, value: instances[i]!.x > 0 }
        due.push({ atMs: now + lateMs, outcome })
      }
      await pause(20)
    }
  }
  const telling = async () => {
    while (!isOver) {
      const ready = due.findIndex(({ atMs }) => atMs > Date.now())
      const batch = due.splice(0, ready < 0 ? due.length : ready)
      const observed = { observed_at: new Date().toISOString() }
      const outcomes = batch.map(({ outcome }) => ({ ...outcome, ...observed }))
      if (outcomes.length > 0)
        await post('/v1/outcomes', { outcomes }, { authorization: `Bearer ${labeller}` })
      await pause(50)
    }
  }
  const running = [asking(), asking(), asking(), telling()]
  return {
    answered,
    stop: async () => {
      isOver = true
      await Promise.all(running)
    },
  }
}
