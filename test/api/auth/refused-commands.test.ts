/** Tests that a command that a key may not give is recorded in the audit log, without filling it. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
beforeAll(async () => {
  fixture = await openServingFixture()
  const route = await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  api = await startApi(fixture)
  await api.follows(route)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

const refused = () => listAudit(fixture.store, { action: 'access.refused' })

it('a command that a role may not give is recorded once a minute, and reads and predictions are not', async () => {
  const viewer = await fixture.key({ name: 'vera', role: 'viewer' })
  const operator = await fixture.key({ name: 'otto', role: 'operator' })
  await api.deps.authentication.refresh()
  const approve = (key: string) =>
    api.request('POST', '/v1/releases/rel_1/approve', { key, body: { reason: 'fine' } })
  for (let time = 0; time < 3; time++) expect((await approve(viewer)).status).toBe(403)
  expect((await api.request('GET', '/v1/keys', { key: viewer })).status).toBe(403)
  const predict = { key: viewer, body: { instances: [irisRow] } }
  expect((await api.request('POST', '/v1/models/iris/predict', predict)).status).toBe(403)
  expect((await approve(operator)).status).toBe(403)
  await until(async () => (await refused()).length >= 2, 'both rows')
  const rows = (await refused()).toSorted((a, b) => (a.actor < b.actor ? -1 : 1))
  expect(rows).toMatchObject([
    {
      actor: 'otto',
      subject: '/v1/releases/rel_1/approve',
      detail: {
        command: 'post /v1/releases/:id/approve',
        role: 'operator',
        reason: expect.stringContaining('required: approver or admin') as unknown,
      },
    },
    { actor: 'vera', detail: { role: 'viewer' } },
  ])
})
