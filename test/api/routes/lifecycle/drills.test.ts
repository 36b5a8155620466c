/** Runs drills on a real Temporal, a real Postgres and a real replica with traffic. Each safeguard reacts, and nothing is promoted. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openDrill } from '../../../../activities/drill/drill.ts'
import { MockActivityEnvironment } from '@temporalio/testing'
import { nextEffect } from '../../../../domain/release/next-effect.ts'
import { promote } from '../../../../activities/release/promote.ts'
import { defaultDrill, type DrillKind } from '../../../../domain/drill.ts'
import { listAlerts, resolveAlert } from '../../../../store/monitoring/alerts.ts'
import { findChampion } from '../../../../store/registry/champions.ts'
import { findLatency } from '../../../../store/release/evidence.ts'
import { closeDrill, findDrill, insertDrill, issueOfDrills } from '../../../../store/release/drills.ts'
import { findOpenRelease, findRelease, saveRelease } from '../../../../store/release/releases.ts'
import { drillWorkflowId, type DrillOutcome, type DrillRequest } from '../../../../workflows/messages.ts'
import { insertModel, type Registry } from '../../../support/release/candidates.ts'
import { seatChampion } from '../../../support/serving/seed-champion.ts'
import type { Core } from '../../../support/release/core.ts'
import {
  oneStagePolicy,
  startReleaseSystem,
  type ReleaseSystem,
} from '../../../support/lifecycle/release-system.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import { until, type TestApi } from '../../../support/serving/serving-fixture.ts'
import { orderedStart } from '../../../support/commands/signed.ts'

let system: ReleaseSystem
let core: Core
let api: TestApi
let registry: Registry
let champion: string
const model = uniqueName('model')
const policy = { ...oneStagePolicy, drill: { ...defaultDrill, shareBp: 5_000, withinMs: 200_000 } }
let keys: Record<string, string>

beforeAll(async () => {
  system = await startReleaseSystem({
    model,
    policy,
    leaseMs: 1_000,
    callers: 5_000,
    everyMs: 5,
  })
  ;({ core, api, registry, keys } = system)
})
afterAll(() => system.stop())

const say = (who: string, path: string, body: unknown = {}) =>
  api.request('POST', path, { key: keys[who]!, body })
const look = async (path: string) => (await api.request('GET', path, { key: keys['vera']! })).json

interface Shown {
  id: string
  kind: string
  passed?: boolean
  message: string
  harmed: number
  exposed: number
  detection_ms: number
  recovery_ms: number
  detected_by: string
  release_id: string
  version: string
}
async function hold(body: object): Promise<Shown[]> {
  // The workflow of the previous drill ends shortly after its row.
  await until(async () => (await say('olga', '/v1/drills', { model, ...body })).status === 202, 'the drill')
  const handle = core.client.workflow.getHandle<() => Promise<DrillOutcome>>(drillWorkflowId(model))
  const { drills } = await handle.result()
  const shown = (await look(`/v1/drills?model=${model}`))['drills'] as Shown[]
  return drills.map(({ id, message }) => {
    const found = shown.find((each) => each.id === id)
    if (found === undefined) throw new Error(message)
    return found
  })
}
/** Waits for enough requests. A drill of a slow candidate is refused until the champion's latency can be measured. */
const untilMeasured = (version: string) =>
  until(async () => {
    const latency = await findLatency(core.store, { model, version, windowMs: 24 * 3_600_000 })
    return (latency?.requests ?? 0) >= 200
  }, 'the latency of the champion')
/** A drill that ends only by a command. */
const lasting = { model, kinds: ['silent'], within_ms: 600_000 }
const nothingMoved = async (drills: Shown[]) => {
  expect(await findChampion(core.store, model)).toMatchObject({ version: champion })
  for (const { release_id: id } of drills)
    expect((await findRelease(core.store, id))?.outcome).not.toBe('promoted')
}

it('drills are refused without a champion, a known kind and the permission', async () => {
  expect(await say('olga', '/v1/drills', { model })).toMatchObject({
    status: 503,
    json: { code: 'no_champion' },
  })
  expect((await say('vera', '/v1/drills', { model })).status).toBe(403)
  expect((await say('olga', '/v1/drills', { model, kinds: ['flood'] })).status).toBe(400)
  champion = await registry.register()
  const { id } = (await say('olga', '/v1/releases', { model, version: champion })).json as { id: string }
  await until(async () => (await look(`/v1/releases/${id}`))['stage'] === 'awaiting_approval', 'the release')
  await say('anna', `/v1/releases/${id}/approve`)
  await until(async () => (await look(`/v1/releases/${id}`))['ended_at'] !== undefined, 'its end')
  expect(await findChampion(core.store, model)).toMatchObject({ version: champion })
})

describe('drills on copies of requests', () => {
  it('a failing, a NaN, a slow and a silent candidate are detected and withdrawn, and no caller is affected', async () => {
    await untilMeasured(champion)
    const reacting = await hold({ kinds: ['nan', 'bad', 'slow'] })
    // A silent candidate is detected when the time of its drill is over.
    const drills = [...reacting, ...(await hold({ kinds: ['silent'], within_ms: 6_000 }))]
    expect(
      drills.map(({ kind, passed, detected_by, message }) => [kind, passed, detected_by, message]),
    ).toEqual([
      ['nan', true, expect.stringMatching(/guard|invalid_rate/), expect.any(String)],
      ['bad', true, expect.stringMatching(/guard|error_rate/), expect.any(String)],
      ['slow', true, expect.stringMatching(/slow9[59]_rate/), expect.any(String)],
      ['silent', true, 'no_data', expect.any(String)],
    ])
    for (const drill of drills) {
      expect(drill.harmed).toBe(0)
      expect(drill.exposed).toBeGreaterThan(0)
      expect(drill.detection_ms).toBeGreaterThan(0)
      expect(drill.recovery_ms).toBeGreaterThanOrEqual(drill.detection_ms)
    }
    await nothingMoved(drills)
  })
})

describe('drills on traffic', () => {
  it('detect a NaN candidate within the failure budget', async () => {
    const drills = await hold({ kinds: ['nan'], traffic: 'live', harm_budget: 200, share_bp: 2_000 })
    expect(drills, drills[0]!.message).toMatchObject([{ passed: true, traffic: 'live' }])
    expect(drills[0]!.harmed).toBeGreaterThan(0)
    expect(drills[0]!.harmed).toBeLessThanOrEqual(200)
    await nothingMoved(drills)
    // Every request that the release counts as failed is in its file, with its inputs.
    const file = `/releases/${drills[0]!.release_id}/exposed.csv`
    const read = async () => {
      const { text } = await api.request('GET', file, { key: keys['vera']! })
      const failed = text.split('\n').filter((line) => line.includes(',output_invalid,'))
      const counted = / requests failed; (\d+) of them are kept/.exec(text)
      return { failed, note: counted?.[0] }
    }
    await expect.poll(async () => (await read()).failed.length).toBeGreaterThan(0)
    const { failed, note } = await read()
    if (note === undefined) expect(failed.length).toBeGreaterThanOrEqual(drills[0]!.harmed)
    else expect(note).toContain(`; ${failed.length} of them are kept`)
    for (const line of failed) expect(line).toContain('returned an invalid prediction')
    for (const line of failed) expect(line).toMatch(/"\[\{""x"":/)
  })

  it('a budget spent before detection ends the drill as failed, with an alert', async () => {
    const drills = await hold({ kinds: ['nan'], traffic: 'live', harm_budget: 0, share_bp: 500 })
    expect(drills).toMatchObject([{ passed: false, harmed: expect.any(Number) as number }])
    expect((await listAlerts(core.store, { model, open: true })).map(({ kind }) => kind)).toContain(
      'drill_failed',
    )
    await nothingMoved(drills)
  })
})

describe('drills of replicas and workers', () => {
  it('a replica that falls silent falls back and returns; a silent watch is taken over', async () => {
    const drills = await hold({ kinds: ['lost-replica', 'dead-worker'] })
    expect(drills).toMatchObject([
      { kind: 'lost-replica', passed: true, replica_id: api.id },
      { kind: 'dead-worker', passed: true },
    ])
    for (const { detection_ms: noticed, recovery_ms: gone } of drills) {
      expect(noticed).toBeGreaterThan(0)
      expect(gone).toBeGreaterThanOrEqual(noticed)
    }
    await nothingMoved(drills)
  })
})

describe('the version of a drill', () => {
  it('cannot become champion by any statement, nor be released in another way', async () => {
    const [drill] = (await look(`/v1/drills?model=${model}`))['drills'] as Shown[]
    const { version } = drill!
    await expect(
      core.store.query(sql`update champions set version = ${version} where model = ${model}`),
    ).rejects.toThrow(/champions_are_no_drills/)
    await expect(
      core.store.query(sql`update versions set known_good_at = now() where version = ${version}`),
    ).rejects.toThrow(/versions_drill_is_never_known_good/)
    const outcome = await core.client.workflow.execute('release', {
      workflowId: uniqueName('by-hand'),
      taskQueue: core.config.taskQueues.control,
      args: [await orderedStart(core, 'release', { model, version, requestedBy: 'olga' })],
    })
    expect(outcome).toMatchObject({
      outcome: 'failed',
      reason: expect.stringMatching(/built for a drill/) as string,
    })
  })

  it('is not promoted by break-glass either', async () => {
    await until(async () => (await say('olga', '/v1/drills', lasting)).status === 202, 'the drill')
    const open = async () =>
      (await look(`/v1/releases?model=${model}&open=true`))['releases'] as { id: string; stage: string }[]
    await until(async () => (await open())[0]?.stage === 'shadow', 'the release of the drill')
    const [release] = await open()
    await until(
      async () => (await findRelease(core.store, release!.id))?.state.routed === true,
      'its first stage',
    )
    expect(await say('olga', '/v1/drills', { model })).toMatchObject({
      status: 409,
      json: { code: 'drill_in_progress' },
    })
    expect(
      await say('root', `/v1/releases/${release!.id}/promote-now`, { reason: 'let us see' }),
    ).toMatchObject({ status: 409, json: { detail: 'a drill is never promoted' } })
    // Nor by a row that asks for the promotion.
    const { state } = (await findRelease(core.store, release!.id))!
    const promoting = { ...state, stage: 'promoting' as const }
    await saveRelease(core.store, promoting)
    const step = { release: state.id, step: nextEffect(promoting).key, seen: 0 }
    expect(await new MockActivityEnvironment().run(promote(core.deps), step)).toMatchObject({
      promoted: false,
      rollbackOrder: { reason: `${state.version} was built for a drill and cannot be promoted` },
    })
    // Its workflow learns of the new row from any command.
    expect((await say('root', `/v1/releases/${release!.id}/abort`)).status).toBe(409)
    await core.client.workflow.getHandle(drillWorkflowId(model)).result()
    expect(await findRelease(core.store, release!.id)).toMatchObject({ outcome: 'rolled_back' })
    expect(await findChampion(core.store, model)).toMatchObject({ version: champion })
    await resolveAlert(core.store, `drill/${model}/silent`, 'its row was changed here')
  })
})

it('drills yield to a rollback of the model, which takes one command', async () => {
  const better = await registry.register(champion)
  const { id } = (await say('olga', '/v1/releases', { model, version: better })).json as { id: string }
  const stageOf = async () => (await look(`/v1/releases/${id}`))['stage']
  await until(async () => (await stageOf()) === 'awaiting_approval', 'its approval')
  await say('anna', `/v1/releases/${id}/approve`)
  await until(async () => (await stageOf()) === 'ended', 'its end')
  expect(await findChampion(core.store, model)).toMatchObject({ version: better })
  await until(async () => (await say('olga', '/v1/drills', lasting)).status === 202, 'the drill')
  await until(
    async () => (await findOpenRelease(core.store, model))?.state.drill !== undefined,
    'its release',
  )
  expect(await say('olga', `/v1/models/${model}/rollback`, { reason: 'complaints' })).toMatchObject({
    status: 200,
    json: { outcome: 'rolled_back', from: better, to: champion },
  })
  const handle = core.client.workflow.getHandle<() => Promise<DrillOutcome>>(drillWorkflowId(model))
  const { drills } = await handle.result()
  const ended = `${better} was rolled back to ${champion} by olga: complaints`
  expect(drills).toMatchObject([{ passed: false, message: `skipped: ${ended}` }])
  expect(await findChampion(core.store, model)).toMatchObject({ version: champion })
  // An interrupted drill is not a failed one: it raises no alert and blocks no release.
  expect(await findDrill(core.store, drills[0]!.id)).toMatchObject({
    held: false,
    message: ended,
  })
  const told = await listAlerts(core.store, { model, open: true })
  expect(told.map(({ dedupeKey }) => dedupeKey)).not.toContain(`drill/${model}/silent`)
  // The requester received a response.
  expect(told.map(({ kind }) => kind)).not.toContain('drill_not_held')
})

it('a drill whose workflow is cancelled was skipped, and raises no alert', async () => {
  await until(async () => (await say('olga', '/v1/drills', lasting)).status === 202, 'the drill')
  await until(async () => (await findOpenRelease(core.store, model))?.state.stage === 'shadow', 'its shadow')
  const handle = core.client.workflow.getHandle<() => Promise<DrillOutcome>>(drillWorkflowId(model))
  await handle.cancel()
  await handle.result().catch(() => {})
  const [shown] = (await look(`/v1/drills?model=${model}&limit=1`))['drills'] as Shown[]
  expect(shown).toMatchObject({ held: false, passed: false, message: 'the drill was cancelled' })
  const told = await listAlerts(core.store, { model, open: true })
  expect(told.map(({ dedupeKey }) => dedupeKey)).not.toContain(`drill/${model}/silent`)
})

describe('drills of the schedule', () => {
  /** Starts one drill as the schedule of the model file does. */
  const bySchedule = async (of: string) => {
    const drill = { ...policy.drill, kinds: ['bad'], cron: '0 3 1 * *' }
    await core.store.query(sql`
      update models set definition = jsonb_set(definition, '{release,drill}', ${JSON.stringify(drill)}::jsonb) where name = ${of}`)
    return core.client.workflow.execute<(request: DrillRequest) => Promise<DrillOutcome>>('drill', {
      workflowId: drillWorkflowId(of),
      taskQueue: core.config.taskQueues.control,
      args: [{ model: of }],
    })
  }
  const notHeldOf = async (of: string) =>
    (await listAlerts(core.store, { model: of, open: true })).filter(({ kind }) => kind === 'drill_not_held')

  it('a drill that cannot run is recorded and raises an alert, until a drill of its kind runs', async () => {
    const version = await registry.register(champion)
    const { id } = (await say('olga', '/v1/releases', { model, version })).json as { id: string }
    const stageOf = async () => (await look(`/v1/releases/${id}`))['stage']
    await until(async () => (await stageOf()) === 'awaiting_approval', 'a release')
    const why = `release ${id} of ${model} is open`
    const { drills } = await bySchedule(model)
    expect(drills).toMatchObject([{ kind: 'bad', passed: false, message: `skipped: ${why}` }])
    const [shown] = (await look(`/v1/drills?model=${model}&limit=1`))['drills'] as Shown[]
    expect(shown).toMatchObject({ id: drills[0]!.id, held: false, passed: false, message: why })
    expect(await notHeldOf(model)).toMatchObject([
      { severity: 'warning', message: `The drill "bad" of ${model} was skipped: ${why}` },
    ])
    await say('anna', `/v1/releases/${id}/reject`)
    await until(async () => (await stageOf()) === 'ended', 'its end')
    // A retry after a lost response does not change it.
    const again = { id: drills[0]!.id, model }
    expect(await openDrill(core.deps)(again)).toEqual({ refused: why })
    await until(async () => (await bySchedule(model)).drills[0]!.passed, 'one that is held')
    expect(await notHeldOf(model)).toEqual([])
  })

  it('skip a model without a champion, and report why the drills are stale', async () => {
    const name = uniqueName('model')
    const asks = { ...policy, requireDrill: { withinMs: 60_000 } }
    const { register } = await insertModel(core.store, {
      model: name,
      policy: asks,
      artifactRoot: core.config.artifactRoot,
    })
    await bySchedule(name)
    const why = `${name} has no champion to make a candidate from`
    expect(await notHeldOf(name)).toMatchObject([
      { message: `The drill "bad" of ${name} was skipped: ${why}` },
    ])
    await seatChampion(core.store, name, await register())
    const issue = () => issueOfDrills(core.store, { model: name, policy: asks })
    expect(await issue()).toBe(
      `the policy requires a drill, and none has run; "bad" was skipped 0 minutes ago: ${why}`,
    )
    const held = {
      id: `drl_${name}1`,
      model: name,
      kind: 'bad',
      traffic: 'mirrored',
      requestedBy: 'olga',
    } as const
    await insertDrill(core.store, { ...held, harmBudget: 1 })
    await closeDrill(core.store, { ...held, passed: true, message: 'm', exposed: 1, harmed: 0, evidence: {} })
    expect(await issue()).toBeUndefined()
    await core.store.query(
      sql`update drills set ended_at = now() - interval '2 minutes' where id = ${held.id}`,
    )
    expect(await issue()).toBe(
      `the last drill "bad" was 2 minutes ago, the policy requires one within 1; "bad" was skipped 0 minutes ago: ${why}`,
    )
  })
})

describe('a policy that requires drills', () => {
  it('refuses a release without a drill, with a drill that is too old, and with a failed drill', async () => {
    const name = uniqueName('model')
    const asks = { ...policy, requireDrill: { withinMs: 60_000 } }
    const other = await insertModel(core.store, {
      model: name,
      policy: asks,
      artifactRoot: core.config.artifactRoot,
    })
    const first = await other.register()
    // The first champion needs no drill, because no drill could run before it.
    expect(await issueOfDrills(core.store, { model: name, policy: asks })).toBeUndefined()
    await seatChampion(core.store, name, first)
    const version = await other.register(first)
    const start = (more: object = {}) => say('olga', '/v1/releases', { model: name, version, ...more })
    const stale = (why: RegExp) => ({
      status: 409,
      json: { code: 'drill_stale', detail: expect.stringMatching(why) as string },
    })
    expect(await start()).toMatchObject(stale(/none has run/))
    const drill = async (id: string, passed: boolean, kind: DrillKind = 'nan') => {
      await insertDrill(core.store, {
        id,
        model: name,
        kind,
        traffic: 'mirrored',
        requestedBy: 'olga',
        harmBudget: 1,
      })
      await closeDrill(core.store, {
        id,
        passed,
        message: 'nothing was found',
        exposed: 1,
        harmed: 0,
        evidence: {},
      })
    }
    await drill(`drl_${name}1`, true)
    await core.store.query(
      sql`update drills set ended_at = now() - interval '2 minutes' where model = ${name}`,
    )
    expect(await start()).toMatchObject(stale(/the last drill "nan" was 2 minutes ago/))
    // A drill of another kind does not renew the requirement, and the policy of a request cannot require less.
    await drill(`drl_${name}0`, true, 'bad')
    expect(await start()).toMatchObject(stale(/the last drill "nan" was 2 minutes ago/))
    expect(await start({ policy })).toMatchObject({ status: 422, json: { code: 'invalid_policy' } })
    await drill(`drl_${name}2`, false)
    expect(await start()).toMatchObject(stale(/"nan" failed: nothing was found/))
    const byHand = await core.client.workflow.execute('release', {
      workflowId: uniqueName('by-hand'),
      taskQueue: core.config.taskQueues.control,
      args: [await orderedStart(core, 'release', { model: name, version, requestedBy: 'olga' })],
    })
    expect(byHand).toMatchObject({
      outcome: 'failed',
      reason: expect.stringMatching(/the last drill "nan" failed/) as string,
    })
    await drill(`drl_${name}3`, true)
    expect(await findDrill(core.store, `drl_${name}3`)).toMatchObject({ passed: true })
    expect(await start()).toMatchObject({ status: 202 })
  })
})
