/** Tests acknowledging and resolving alerts through the API, with the audit rows. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  listAlerts,
  resolveAlert,
  resolveAlertById,
  upsertAlert,
} from '../../../../store/monitoring/alerts.ts'
import type { Actor } from '../../../../api/auth/authentication.ts'
import type { CommandDeps } from '../../../../api/deps.ts'
import { updateAlertGroups } from '../../../../api/services/alerts/update-alert.ts'
import { listAudit } from '../../../../store/audit/audit-log.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
const keys: Record<string, string> = {}

beforeAll(async () => {
  fixture = await openServingFixture()
  keys['olga'] = await fixture.key({ name: 'olga', role: 'operator' })
  keys['anna'] = await fixture.key({ name: 'anna', role: 'approver', models: ['wine'] })
  keys['vera'] = await fixture.key({ name: 'vera', role: 'viewer' })
  api = await startApi(fixture)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

const raise = (model: string) =>
  upsertAlert(fixture.store, {
    dedupeKey: `m/${model}`,
    model,
    severity: 'critical',
    kind: 'quality_lost',
    message: 'm',
  })
const acknowledge = (id: number | string, who: string) =>
  api.request('POST', `/v1/alerts/${id}/acknowledge`, { key: keys[who]!, body: { reason: 'I look' } })

const resolve = (id: number, who: string) =>
  api.request('POST', `/v1/alerts/${id}/resolve`, { key: keys[who]!, body: {} })
const audited = async (action: string, id: number) =>
  (await listAudit(fixture.store, { limit: 100 })).filter(
    (row) => row.action === action && row.subject === `alert/${id}`,
  )

describe('an alert', () => {
  it('is acknowledged by the first key, once in the audit', async () => {
    const id = await raise('iris')
    expect((await acknowledge(id, 'olga')).json).toMatchObject({ id, acknowledged_by: 'olga' })
    expect(await acknowledge(id, 'olga')).toMatchObject({ status: 200, json: { acknowledged_by: 'olga' } })
    expect(await listAlerts(fixture.store, { open: true })).toMatchObject([{ acknowledgedBy: 'olga' }])
    expect(await audited('alert.acknowledged', id)).toMatchObject([
      { actor: 'olga', detail: { reason: 'I look' } },
    ])
  })

  it('refuses a second key and names the key that has acknowledged it', async () => {
    const id = await raise('wine')
    expect((await acknowledge(id, 'anna')).status).toBe(200)
    expect(await acknowledge(id, 'olga')).toMatchObject({
      status: 409,
      json: { code: 'command_refused', detail: expect.stringContaining('is acknowledged by anna') as string },
    })
    expect(await audited('alert.acknowledged', id)).toMatchObject([{ actor: 'anna' }])
    await resolveAlert(fixture.store, 'm/wine', 'measured')
  })

  it('is not acknowledged by a viewer, nor by a key of another model, and an unknown alert is not found', async () => {
    const id = await raise('iris')
    expect((await acknowledge(id, 'vera')).status).toBe(403)
    expect((await acknowledge(id, 'anna')).status).toBe(404)
    expect((await acknowledge(999_999, 'olga')).status).toBe(404)
    expect((await acknowledge('x', 'olga')).status).toBe(404)
    expect((await acknowledge(await raise('wine'), 'anna')).status).toBe(200)
  })

  it('is resolved once in the audit, and then neither acknowledged nor resolved', async () => {
    const id = await raise('rose')
    expect((await resolve(id, 'vera')).status).toBe(403)
    expect((await resolve(id, 'anna')).status).toBe(404)
    expect((await resolve(id, 'olga')).json).toMatchObject({ id, resolved_at: expect.any(String) as unknown })
    for (const late of [await acknowledge(id, 'olga'), await resolve(id, 'olga')])
      expect(late).toMatchObject({
        status: 409,
        json: { code: 'command_refused', detail: expect.stringContaining('was resolved at') as string },
      })
    expect(await audited('alert.acknowledged', id)).toEqual([])
    expect(await audited('alert.resolved', id)).toMatchObject([{ actor: 'olga' }])
  })
})

describe('a group of alerts', () => {
  const raiseAt = (place: number, model = 'iris') =>
    upsertAlert(fixture.store, {
      dedupeKey: `r/${model}/${place}`,
      model,
      severity: place === 1 ? 'critical' : 'warning',
      kind: 'release_rolled_back',
      message: `rolled back ${place}`,
    })
  const groupsOf = async (who: string) => {
    const { json } = await api.request('GET', '/v1/alerts/groups', { key: keys[who]! })
    return (json['groups'] as Record<string, unknown>[]).filter(({ kind }) => kind === 'release_rolled_back')
  }

  it('is listed with its count, and is acknowledged with one request, up to the alert that is named', async () => {
    const ids = [await raiseAt(0), await raiseAt(1), await raiseAt(2)]
    const other = await raiseAt(0, 'wine')
    expect((await groupsOf('olga')).find(({ model }) => model === 'iris')).toMatchObject({
      severity: 'critical',
      count: 3,
      acknowledged: 0,
      id: ids[2],
      message: 'rolled back 2',
    })
    const body = { reason: 'one cause', group: true }
    const answer = await api.request('POST', `/v1/alerts/${ids[1]}/acknowledge`, { key: keys['olga']!, body })
    expect(answer).toMatchObject({ status: 200, json: { id: ids[1], acknowledged_by: 'olga' } })
    const open = await listAlerts(fixture.store, { open: true })
    const handled = open.filter(
      ({ kind, acknowledgedBy }) => kind === 'release_rolled_back' && acknowledgedBy !== undefined,
    )
    expect(handled.map(({ id }) => id).toSorted((one, other) => one - other)).toEqual([ids[0], ids[1]])
    expect(open.find(({ id }) => id === other)?.acknowledgedBy).toBeUndefined()
    for (const id of ids.slice(0, 2))
      expect(await audited('alert.acknowledged', id)).toMatchObject([
        { actor: 'olga', detail: { reason: 'one cause' } },
      ])
  })

  it('is resolved although one of its alerts is resolved by the system at the same time', async () => {
    const ids = [await raiseAt(0, 'lily'), await raiseAt(1, 'lily'), await raiseAt(2, 'lily')]
    const { store } = fixture
    const meanwhile: typeof store = {
      ...store,
      async transaction(work) {
        await resolveAlertById(store, { id: ids[0]!, by: 'the system' })
        return store.transaction(work)
      },
    }
    const log = { info: () => undefined } as unknown as CommandDeps['log']
    const actor = { name: 'olga' } as Actor
    const change = { ids: [String(ids[2])], action: 'resolve' } as const
    const updated = await updateAlertGroups({ store: meanwhile, log }, actor, change)
    expect(updated.map(({ id }) => id)).toEqual(ids.slice(1))
    await expect(updateAlertGroups({ store, log }, actor, change)).rejects.toThrow('was resolved at')
  })

  it('has only the alerts of the models that the key may see, and a viewer changes none', async () => {
    expect((await groupsOf('anna')).map(({ model }) => model)).toEqual(['wine'])
    const [group] = await groupsOf('anna')
    const refused = await api.request('POST', `/v1/alerts/${String(group!['id'])}/resolve`, {
      key: keys['vera']!,
      body: { group: true },
    })
    expect(refused.status).toBe(403)
  })
})
