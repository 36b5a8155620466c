/** An alert is looked after: by whom, once, in the audit. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listAlerts, resolveAlert, upsertAlert } from '../../../../store/monitoring/alerts.ts'
import { listAudit } from '../../../../store/audit/audit-log.ts'
import { openHouse, startApi, type House, type TestApi } from '../../../support/serving/serving-fixture.ts'

let house: House
let api: TestApi
const keys: Record<string, string> = {}

beforeAll(async () => {
  house = await openHouse()
  keys['olga'] = await house.key({ name: 'olga', role: 'operator' })
  keys['anna'] = await house.key({ name: 'anna', role: 'approver', models: ['wine'] })
  keys['vera'] = await house.key({ name: 'vera', role: 'viewer' })
  api = await startApi(house)
})
afterAll(async () => {
  await api.stop()
  await house.close()
})

const raise = (model: string) =>
  upsertAlert(house.store, {
    dedupeKey: `m/${model}`,
    model,
    severity: 'critical',
    kind: 'quality_lost',
    message: 'm',
  })
const acknowledge = (id: number | string, who: string) =>
  api.request('POST', `/v1/alerts/${id}/acknowledge`, { key: keys[who]!, body: { reason: 'I look' } })

describe('an alert', () => {
  it('is acknowledged by the first who says so, once in the audit', async () => {
    const id = await raise('iris')
    expect((await acknowledge(id, 'olga')).json).toMatchObject({ id, acknowledged_by: 'olga' })
    expect((await acknowledge(id, 'olga')).status).toBe(200)
    expect(await listAlerts(house.store, { open: true })).toMatchObject([{ acknowledgedBy: 'olga' }])
    const rows = (await listAudit(house.store, { limit: 100 })).filter(
      ({ action }) => action === 'alert.acknowledged',
    )
    expect(rows).toMatchObject([{ actor: 'olga', subject: `alert/${id}`, detail: { reason: 'I look' } }])
  })

  it('is not acknowledged by a viewer, nor for a model out of reach, nor when there is none', async () => {
    const id = await raise('iris')
    expect((await acknowledge(id, 'vera')).status).toBe(403)
    expect((await acknowledge(id, 'anna')).status).toBe(403)
    expect((await acknowledge(999_999, 'olga')).status).toBe(404)
    expect((await acknowledge('x', 'olga')).status).toBe(404)
    expect((await acknowledge(await raise('wine'), 'anna')).status).toBe(200)
  })

  it('that is over is answered as it ended', async () => {
    const id = await raise('rose')
    await resolveAlert(house.store, 'm/rose')
    const { status, json } = await acknowledge(id, 'olga')
    expect(status).toBe(200)
    expect(json).toMatchObject({ resolved_at: expect.any(String) as unknown })
    expect(json['acknowledged_at']).toBeUndefined()
  })
})
