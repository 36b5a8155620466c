/** Tests the limits of automatic retraining on the real database: the checks of a request, and the rows that it stores. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import sql from 'sql-template-tag'
import { MockActivityEnvironment } from '@temporalio/testing'
import type { Client } from '@temporalio/client'
import { randomUUID } from 'node:crypto'
import { openAs } from '../../support/commands/open-ordered.ts'
import {
  endRetraining,
  openRetraining,
  type OpenInput,
  type OpenResult,
} from '../../../activities/retrain/retraining.ts'
import type { TriggerReason } from '../../../domain/monitoring/retraining-triggers.ts'
import { openingState, releaseIdOf } from '../../../domain/release/state.ts'
import { insertMonitorWindow } from '../../../store/monitoring/monitor-windows.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { insertOutcomes } from '../../../store/monitoring/outcomes.ts'
import { findReleaseToAwait } from '../../../store/release/release-queue.ts'
import { insertRelease } from '../../../store/release/releases.ts'
import { insertSnapshot } from '../../../store/training/snapshots.ts'
import { findRetraining } from '../../../store/training/retrainings.ts'
import { recordFailure, recordSnapshot } from '../../../store/training/runs.ts'
import type { RetrainRequest } from '../../../workflows/messages.ts'
import { orderedStart } from '../../support/commands/signed.ts'
import { insertModel, insertPeople, type Registry } from '../../support/release/candidates.ts'
import { snapshotOf } from '../../support/serving/registration.ts'
import { firstFacts, releasePolicy } from '../../support/release/releases.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let deps: ActivityDeps
let model: string
let registry: Registry
beforeAll(async () => {
  deps = await openActivityDeps()
  await insertPeople(deps.store, { olga: 'operator' })
})
afterAll(() => deps?.close())
beforeEach(async () => {
  model = uniqueName('roses')
  registry = await insertModel(deps.store, {
    model,
    policy: releasePolicy,
    artifactRoot: deps.config.artifactRoot,
  })
  await deps.store.query(sql`
    update models set definition = definition || '{"retrain": {"everyMs": 3600000}}' where name = ${model}`)
})

/** Inserts a finished training that began so many hours ago. */
async function past(
  hoursAgo: number,
  outcome: string,
  {
    dedupeKey,
    reason = 'drift',
    version,
  }: { dedupeKey?: string; reason?: TriggerReason; version?: string } = {},
): Promise<void> {
  await deps.store.query(sql`
    insert into retrainings
      (id, model, reason, dedupe_key, requested_by, as_of, outcome, version, message, snapshot_digest, started_at, ended_at)
    values (${`retrain/${model}/${randomUUID()}`}, ${model}, ${reason}, ${dedupeKey ?? null}, 'test', now(), ${outcome}, ${version ?? null}, '',
      ${snapshotOf(model)}, now() - make_interval(mins => ${Math.round(hoursAgo * 60)}), now())`)
}
interface Asked {
  dedupeKey?: string
  /** The repeated request. */
  input?: OpenInput
}
/** Its Temporal knows no run, so an open retraining belongs to an ended run. */
function environment(): MockActivityEnvironment {
  const notFound = Object.assign(new Error('not found'), { code: 5 })
  const workflowService = { describeWorkflowExecution: () => Promise.reject(notFound) }
  const withAbortSignal = (_signal: AbortSignal, run: () => Promise<unknown>) => run()
  return new MockActivityEnvironment(
    {},
    { client: { workflowService, withAbortSignal } as unknown as Client },
  )
}

/** Requests a retraining as the component that uses this reason. */
async function ask(reason: TriggerReason, { dedupeKey, input }: Asked = {}) {
  const asked = input ?? {
    retrainingId: `retrain/${model}/${randomUUID()}`,
    ...(await requestOf(reason, dedupeKey)),
  }
  const { throttled } = (await environment().run(openRetraining(deps), asked)) as OpenResult
  return { throttled, input: asked, row: await findRetraining(deps.store, asked.retrainingId) }
}

async function requestOf(reason: TriggerReason, dedupeKey: string = randomUUID()): Promise<RetrainRequest> {
  const evidence = { psi: 0.3 }
  if (reason === 'schedule') return { model }
  if (reason === 'manual') return orderedStart(deps, 'retrain', { model, requestedBy: 'olga', evidence })
  const trigger = { model, reason, dedupeKey, message: 'it drifts', evidence }
  const toMs = windowEndMs++
  const window = { model, fromMs: toMs - 1, toMs, facts: {}, findings: {}, judge: 'test' }
  await insertMonitorWindow(deps.store, { ...window, trigger: { action: 'start', trigger, said: '' } })
  return { model, order: dedupeKey }
}
let windowEndMs = Date.parse('2026-01-01T00:00:00Z')

it('the end of a retraining whose workflow was ended from outside is in the audit log', async () => {
  const { input } = await ask('manual')
  await ask('manual')
  const ended = await listAudit(deps.store, { model, action: 'retraining.ended' })
  expect(ended.map(({ actor, subject, detail }) => ({ actor, subject, detail }))).toEqual([
    {
      actor: 'system',
      subject: input.retrainingId,
      detail: { outcome: 'failed', reason: 'its workflow was ended from outside' },
    },
  ])
})

describe('an automatic retraining request', () => {
  it('is held back during the cool-down, and reports its end', async () => {
    await past(20, 'released')
    const { throttled, row } = await ask('drift')
    expect(throttled).toMatch(/less than 24 h ago; possible again from 20\d\d-/)
    expect(row).toMatchObject({
      outcome: 'throttled',
      message: throttled,
      reason: 'drift',
      endedAt: expect.any(String) as unknown,
      evidence: { psi: 0.3, throttled: { code: 'cool_down', trainings: [{ outcome: 'released' }] } },
    })
    expect((await ask('labels')).throttled).toMatch(/less than 24 h ago/)
    // Lost quality is more urgent.
    expect((await ask('quality')).throttled).toBeUndefined()
  })

  it('starts after the cool-down', async () => {
    await past(24.1, 'released')
    const { throttled, row } = await ask('drift')
    expect(throttled).toBeUndefined()
    expect(row?.outcome).toBeUndefined()
  })

  it('waits twice the cool-down after a training without a better version, and a week after three', async () => {
    await past(30, 'not_better')
    expect((await ask('drift')).throttled).toMatch(/less than 48 h ago, after 1 in a row/)
    await past(200, 'not_better')
    await past(220, 'not_better')
    expect((await ask('quality')).throttled).toMatch(/less than 168 h ago, after 3 in a row/)
    // Trainings before the last one that brought a version do not count.
    await past(29, 'registered')
    expect((await ask('quality')).throttled).toBeUndefined()
  })

  it.each([
    ['rolled_back', 'released', /less than 48 h ago, after 1 in a row/],
    ['rejected', 'released', /less than 48 h ago, after 1 in a row/],
    // It was queued behind another release.
    ['rolled_back', 'registered', /less than 48 h ago, after 1 in a row/],
    ['promoted', 'released', undefined],
  ] as const)(
    'waits as long after a version whose last release ended as %s',
    async (outcome, trained, said) => {
      const version = await registry.register()
      for (const [i, ended] of (['rejected', outcome] as const).entries()) {
        const id = `rel_${uniqueName('r')}` as const
        const state = openingState({ ...firstFacts, id, model, version }, 0)
        await insertRelease(deps.store, { state, workflowId: 'w', runId: id })
        await deps.store.query(sql`
        update releases set outcome = ${ended}, stage = 'ended', ended_at = now(),
          started_at = now() - make_interval(hours => ${29 - i}) where id = ${id}`)
      }
      await past(30, trained, { version })
      const { throttled } = await ask('drift')
      if (said === undefined) expect(throttled).toBeUndefined()
      else expect(throttled).toMatch(said)
    },
  )

  it('waits as long after a failed automatic training, and a week after three', async () => {
    await past(30, 'failed', { reason: 'drift' })
    expect((await ask('drift')).throttled).toMatch(/less than 48 h ago, after 1 in a row/)
    await past(200, 'quarantined', { reason: 'labels' })
    await past(220, 'failed', { reason: 'quality' })
    expect((await ask('quality')).throttled).toMatch(/less than 168 h ago, after 3 in a row/)
    expect((await ask('manual')).throttled).toBeUndefined()
  })

  it('is refused for the fifth time in a week', async () => {
    for (const hours of [160, 120, 80, 30]) await past(hours, 'released', { reason: 'drift' })
    const { throttled, row } = await ask('quality')
    expect(throttled).toContain('4 automatic trainings started in the last seven days, limit 4')
    expect(row?.evidence['throttled']).toMatchObject({ code: 'weekly_cap' })
  })

  it('waits while a version is released, unless its own would supersede that release', async () => {
    const version = await registry.register()
    const id = `rel_${uniqueName('r')}` as const
    const state = openingState({ ...firstFacts, id, model, version }, 0)
    await insertRelease(deps.store, { state, workflowId: 'w', runId: id })
    const { throttled, row } = await ask('quality')
    expect(throttled).toContain(`${version} is being released`)
    expect(row?.evidence['throttled']).toMatchObject({ code: 'releasing' })
    // Releases that bring no champion soon are not waited for.
    for (const changed of [{ paused: true }, { stage: 'awaiting_approval' }, { drill: 'bad-version' }]) {
      const text = JSON.stringify(changed)
      await deps.store.query(sql`update releases set state = state || ${text}::jsonb where id = ${id}`)
      expect(await findReleaseToAwait(deps.store, model), text).toBeUndefined()
      await deps.store.query(sql`update releases set state = ${JSON.stringify(state)} where id = ${id}`)
    }
    await deps.store.query(sql`update releases set started_at = now() - interval '8 days' where id = ${id}`)
    expect(await findReleaseToAwait(deps.store, model)).toBeUndefined()
    await deps.store.query(sql`update releases set started_at = now() where id = ${id}`)
    expect(await findReleaseToAwait(deps.store, model)).toBe(version)
    await deps.store.query(sql`
      update models set definition = jsonb_set(definition, '{release,whenBusy}', '"supersede"') where name = ${model}`)
    expect((await ask('quality')).throttled).toBeUndefined()
  })

  it('is opened once for the same evidence', async () => {
    await past(200, 'released', { dedupeKey: 'drift/window-7' })
    expect((await ask('drift', { dedupeKey: 'drift/window-7' })).throttled).toContain('the same evidence')
    expect((await ask('drift', { dedupeKey: 'drift/window-8' })).throttled).toBeUndefined()
  })

  it('waits for 10 % new rows after a training without a better version', async () => {
    await past(200, 'not_better')
    await deps.store.query(sql`update snapshots set rows = 20 where model = ${model}`)
    const ids = [randomUUID(), randomUUID(), randomUUID()].map((id) => `${id.slice(0, -4)}0000`)
    for (const id of ids)
      await deps.store.query(sql`
        insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
        values (${id}, now(), ${model}, 'v', 'champion', 1, 1, '', '{0.5}', 1)`)
    const tell = (predictionId: string) =>
      insertOutcomes(deps.store, {
        outcomes: [{ predictionId, value: 1, observedAt: new Date().toISOString() }],
        source: 'test',
      })
    // It was known before the last training began.
    await tell(ids[0]!)
    await deps.store.query(sql`update outcomes set arrived_at = now() - interval '300 hours'`)
    await tell(ids[1]!)
    expect((await ask('drift')).throttled).toContain('1 of 2 required new rows')
    await tell(ids[2]!)
    expect((await ask('drift')).throttled).toBeUndefined()
  })

  it('is evaluated once: the same id returns the first decision', async () => {
    await past(20, 'released')
    const { throttled, input } = await ask('drift')
    await deps.store.query(sql`delete from retrainings where model = ${model} and outcome = 'released'`)
    expect((await ask('drift', { input })).throttled).toBe(throttled)
  })

  it('is not counted when it was held back', async () => {
    await past(20, 'released')
    for (const key of ['a', 'a', 'b', 'c', 'd'])
      expect((await ask('drift', { dedupeKey: key })).throttled).toMatch(/24 h/)
    await deps.store.query(
      sql`update retrainings set started_at = started_at - interval '5 h' where model = ${model} and outcome = 'released'`,
    )
    expect((await ask('drift', { dedupeKey: 'a' })).throttled).toBeUndefined()
  })
})

it.each(['manual', 'schedule'] as const)('a %s request has no cool-down and no limit', async (reason) => {
  for (const hours of [1, 2, 3, 4, 5]) await past(hours, 'not_better')
  expect((await ask(reason)).throttled).toBeUndefined()
})

it('the outcome of a retraining names the flooded rows that were left out', async () => {
  const { input } = await ask('manual')
  const digest = `flooded-${model}`
  const told = '997 of 997 rows are left out: city "city 3" has 22 % of the rows: a flood of one value'
  await insertSnapshot(deps.store, {
    digest,
    model,
    asOf: '2026-01-01T00:00:00Z',
    rows: 9,
    bytes: 9,
    columns: {},
    source: { floods: [told] },
  })
  await recordSnapshot(deps.store, { run: input.retrainingId, digest })
  await recordFailure(deps.store, input.retrainingId, { message: 'no gain' })
  await endRetraining(deps)({ run: input.retrainingId })
  expect((await findRetraining(deps.store, input.retrainingId))?.message).toBe(`no gain; ${told}`)
})

/** Registers a version as the one of a retraining. */
async function registeredBy(retraining: string): Promise<string> {
  const version = await registry.register()
  const lineage = JSON.stringify({ retrainingId: retraining })
  await deps.store.query(
    sql`update versions set lineage = lineage || ${lineage}::jsonb where version = ${version}`,
  )
  return version
}

it('a retraining is released when the row of its release exists', async () => {
  const { input } = await ask('manual')
  const version = await registeredBy(input.retrainingId)
  const id = `rel_${uniqueName('r')}` as const
  const asked = vi.spyOn(deps.store, 'query')
  const ended = endRetraining(deps)({ run: input.retrainingId, releaseId: id })
  await expect
    .poll(() => asked.mock.calls.filter(([{ values }]) => values.includes(id)).length)
    .toBeGreaterThan(1)
  asked.mockRestore()
  expect((await findRetraining(deps.store, input.retrainingId))?.outcome).toBeUndefined()
  const state = openingState({ ...firstFacts, id, model, version }, 0)
  await insertRelease(deps.store, { state, workflowId: 'w', runId: id })
  await ended
  expect((await findRetraining(deps.store, input.retrainingId))?.outcome).toBe('released')
})

it('a retraining whose release is refused at its opening is registered, with the reason', async () => {
  const { input } = await ask('manual')
  const version = await registeredBy(input.retrainingId)
  const runId = uniqueName('r')
  const id = releaseIdOf(runId)
  await deps.store.query(sql`update versions set drill = true where version = ${version}`)
  await openAs(deps, { workflowId: 'w', runId }, { id, model, order: input.retrainingId })
  const registered = {
    outcome: 'registered',
    message: `${version} is registered: ${version} was built for a drill and can only be released by it`,
  }
  expect(await endRetraining(deps)({ run: input.retrainingId, releaseId: id })).toMatchObject(registered)
  expect(await findRetraining(deps.store, input.retrainingId)).toMatchObject(registered)
})
