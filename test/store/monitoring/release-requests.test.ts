/** Tests alerts of releases that request an answer: one request is stored once, however many processes raise it. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { upsertRequest } from '../../../store/monitoring/release-requests.ts'
import type { Store } from '../../../store/postgres.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(() => store.close())

it('stores each request once when several processes raise it at the same moment, and renews its text', async () => {
  const requests = Array.from({ length: 50 }, (_, at) => ({
    dedupeKey: `request/rel_1/${at}`,
    severity: 'warning' as const,
    kind: 'approval_needed' as const,
    message: 'Approve it?',
    evidence: { release: 'rel_1' },
  }))
  for (const request of requests)
    await Promise.all(Array.from({ length: 4 }, () => upsertRequest(store, request)))
  await upsertRequest(store, { ...requests[0]!, message: 'Approve it now?' })
  const messages = (await listAlerts(store, { open: true, limit: 200 })).map(({ message }) => message)
  expect(messages.toSorted()).toEqual(
    [...requests.slice(1).map(({ message }) => message), 'Approve it now?'].toSorted(),
  )
})
