/** Tests the fallback levels from the champion down to refusal: which version serves, what is reported, and how a level ends. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { activateFallback } from '../../../activities/monitor/fallback.ts'
import { reportFallbacks } from '../../../activities/alerts/delivery/deliver.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { fallbackName, type Fallback } from '../../../domain/serving/kill-switch.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { findKillSwitch, writeKillSwitch } from '../../../store/serving/kill-switches.ts'
import {
  openServingFixture,
  request,
  startApi,
  threeVersions,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'
import { declareFallback, writeChampion } from '../../support/serving/registration.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
let caller: string
beforeAll(async () => {
  fixture = await openServingFixture()
  api = await startApi(fixture)
  key = await fixture.key({ role: 'operator', name: 'olga' })
  caller = await fixture.key({ role: 'predictor', name: 'ines' })
  await until(async () => (await api.request('GET', '/v1/kill-switches', { key })).status === 200, 'the key')
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
})

const log = { debug() {}, info() {}, warn() {}, error() {} }
const put = (model: string, serve: string) =>
  api.request('PUT', `/v1/kill-switches/${model}`, { key, body: { serve, reason: 'it looks wrong' } })
const declare = (model: string, fallback: Fallback) => declareFallback(fixture.store, model, fallback)
const hasBeenChampion = (model: string, version: string) => writeChampion(fixture.store, model, version)
const metricOf = async (model: string) => {
  const { text } = await api.request('GET', '/metrics', { key })
  const shown = [...text.matchAll(/^tenure_model_fallback_level\{model="([^"]+)"\} (\d)/gm)]
  return shown.find(([, name]) => name === model)?.[2]
}
const fallbackLevelOf = (model: string) =>
  api.serving.routing.fallbackLevels().find((each) => each.model === model)?.level
/** Returns the stored level once the replica has written it. */
async function written(model: string, level: string) {
  await until(async () => {
    await api.serving.refresh()
    const [row] = await fixture.store.query<{ level: string }>(
      sql`select level from replica_fallbacks where model = ${model}`,
    )
    return (row?.level ?? 'champion') === level
  }, `the level ${level}`)
  await reportFallbacks(fixture.store)
  return (await listAlerts(fixture.store, { model, open: true })).map(
    ({ kind, severity }) => `${severity} ${kind}`,
  )
}
async function champion(fallback?: Fallback) {
  const versions = await threeVersions(fixture)
  if (fallback !== undefined) await declare(versions.model, fallback)
  await hasBeenChampion(versions.model, versions.old)
  await hasBeenChampion(versions.model, versions.champion)
  await api.follows(await fixture.route(versions.model, { proven: versions.champion }))
  await api.serving.refresh()
  return versions
}
/** Makes all further responses of a version invalid. */
const makeInvalid = (version: string, invalidShare = 1) => {
  const loaded = [...api.serving.routing.loaded()].find((each) => each.version === version)!
  loaded.invalidShare = invalidShare
}
/** Returns the number of refused requests before another version serves, and that version. */
function askUntilAnswered(model: string) {
  for (let harmed = 0; harmed < 200; harmed++) {
    try {
      return { harmed, ...api.ask(model, request(`key ${harmed}`)) }
    } catch {
      // One of the refused requests.
    }
  }
  throw new Error('no version serves')
}

describe('a kill switch on `refuse`', () => {
  it('refuses every request with a remedy, is reported, and ends with `normal`', async () => {
    const { model, champion: version } = await champion()
    expect((await put(model, 'refuse')).json).toMatchObject({ serve: 'refuse', problems: [] })
    expect(() => api.ask(model, request())).toThrow(
      expect.objectContaining({ code: 'model_refused' }) as Error,
    )
    const answer = await api.request('POST', `/v1/models/${model}/predict`, { key: caller, body: request() })
    expect(answer).toMatchObject({ status: 503, json: { code: 'model_refused' } })
    expect(await metricOf(model)).toBe('3')
    expect(await written(model, 'refused')).toEqual(['critical fallback_refused'])
    await put(model, 'normal')
    expect(api.ask(model, request())).toMatchObject({ version })
    expect(await written(model, 'champion')).toEqual([])
    expect(await metricOf(model)).toBe('0')
  })
})

describe('a broken champion', () => {
  it('falls back to the previous version where the model file allows it, and returns after the kill switch is set', async () => {
    const { model, old, champion: version } = await champion({ kind: 'previous', automatic: true })
    await until(() => [...api.serving.routing.loaded()].some((each) => each.version === old), 'the spare')
    await until(async () => {
      await api.serving.refresh()
      return api.ask(model, request()).version === version
    }, 'the champion')
    makeInvalid(version)
    const { harmed, ...answer } = askUntilAnswered(model)
    expect(answer).toMatchObject({ version: old, fallback: true })
    expect(harmed).toBeLessThan(20)
    expect(fallbackLevelOf(model)).toBe('previous')
    expect(await metricOf(model)).toBe('1')
    expect(await written(model, 'previous')).toEqual(['warning fallback_previous'])
    // It does not return automatically, however valid its responses would be.
    makeInvalid(version, 0)
    expect(api.ask(model, request())).toMatchObject({ version: old })
    await put(model, 'normal')
    expect(api.ask(model, request())).toMatchObject({ version })
    expect(await written(model, 'champion')).toEqual([])
  })

  it('falls back to the rule, another level, when there is no previous version', async () => {
    const rule: Fallback = { kind: 'previous', otherwise: [0, 1, 0], automatic: true }
    const { model, champion: version, old } = await champion(rule)
    await fixture.store.query(sql`update versions set rolled_back_at = now() where version = ${old}`)
    await until(async () => {
      await api.serving.refresh()
      return !api.serving.switches
        .remembered()
        .fallbacks.some((row) => row.model === model && row.previous !== null)
    }, 'that no level is stored')
    makeInvalid(version)
    expect(askUntilAnswered(model)).toMatchObject({
      version: fallbackName(model),
      fallback: true,
      predictions: [{ label: 'versicolor' }],
    })
    expect(await metricOf(model)).toBe('2')
    expect(await written(model, 'rule')).toEqual(['critical fallback_rule'])
    makeInvalid(version, 0)
  })

  it('has no fallback where the model file does not allow it', async () => {
    const { model, champion: version } = await champion({ kind: 'previous' })
    makeInvalid(version)
    expect(() => askUntilAnswered(model)).toThrow('no version serves')
    expect(fallbackLevelOf(model)).toBe('champion')
    makeInvalid(version, 0)
  })
})

describe('the monitor', () => {
  const definition = (name: string, fallback?: Fallback) => ({ name, fallback }) as ModelDefinition
  const give = (model: string, version: string, fallback?: Fallback) =>
    activateFallback(
      { store: fixture.store, log },
      { definition: definition(model, fallback), champion: version, reason: '3 % errors > 2 %' },
    )

  it('sets the kill switch of a champion above its alarm limits, under its own name, once', async () => {
    const automatic: Fallback = { kind: 'previous', automatic: true }
    const { model, old, champion: version } = await champion(automatic)
    expect(await give(model, version, { kind: 'previous' })).toBe(false)
    expect(await give(model, version)).toBe(false)
    expect(await findKillSwitch(fixture.store, model)).toBeUndefined()
    expect(await give(model, version, automatic)).toBe(true)
    expect(await findKillSwitch(fixture.store, model)).toMatchObject({
      serve: 'fallback',
      actor: `monitor/${model}`,
      reason: '3 % errors > 2 %',
    })
    await until(async () => {
      await api.serving.refresh()
      return api.ask(model, request()).version === old
    }, 'the previous one')
    expect(await give(model, version, automatic)).toBe(false)
    const rows = await fixture.store.query(
      sql`select from audit where action = 'kill_switch.set' and model = ${model}`,
    )
    expect(rows).toHaveLength(1)
  })

  it('keeps a kill switch that is set, and sets none to a fallback that does not exist', async () => {
    const automatic: Fallback = { kind: 'previous', automatic: true }
    const { model, old, champion: version } = await champion(automatic)
    await writeKillSwitch(fixture.store, { model, serve: 'champion', reason: 'we look at it', actor: 'olga' })
    expect(await give(model, version, automatic)).toBe(false)
    await writeKillSwitch(fixture.store, { model, serve: 'normal', reason: 'done', actor: 'olga' })
    await fixture.store.query(sql`update versions set rolled_back_at = now() where version = ${old}`)
    expect(await give(model, version, automatic)).toBe(false)
    expect(await give(model, version, { ...automatic, otherwise: [1, 0, 0] } as Fallback)).toBe(true)
  })

  it('leaves a champion on probation to its release', async () => {
    const automatic: Fallback = { kind: 'previous', automatic: true }
    const { model, champion: version } = await champion(automatic)
    const state = JSON.stringify({ id: `rel_${model}`, model, version, stage: 'probation' })
    await fixture.store.query(sql`
      insert into releases (id, model, version, strategy, policy, policy_digest, evaluation_digest, artifact_digest,
        requested_by, workflow_id, run_id, stage, state)
      values (${`rel_${model}`}, ${model}, ${version}, 'canary', '{}', '', '', '', 'olga', ${`release/${model}`}, 'run',
        'probation', ${state})`)
    expect(await give(model, version, automatic)).toBe(false)
    await fixture.store.query(sql`delete from releases where model = ${model}`)
    expect(await give(model, version, automatic)).toBe(true)
  })
})
