/** Tests that one of two concurrent looks moves the position, and that an attempt at a partition is requested once. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { partitionOf } from '../../../domain/triggers/partitions.ts'
import { triggerAlertKey, type TriggerDefinition } from '../../../domain/triggers/trigger.ts'
import type { Store } from '../../../store/postgres.ts'
import { resolveAlert, upsertAlert } from '../../../store/monitoring/alerts.ts'
import {
  listTriggerActivity,
  insertPartition,
  listPositions,
  movePosition,
  startPosition,
} from '../../../store/triggers/firings.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releasePolicy as policy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

const model = 'moved'
const definition: TriggerDefinition = { name: 'file', kind: 'file', everyMs: 1_000, glob: 'a' }
let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase(), { max: 4, onError: () => {} })
  await insertModel(store, { model, policy, artifactRoot: '/nowhere' })
})
afterAll(() => store.close())

const seen = async () => (await listPositions(store, model)).map((each) => each.seen)

it('of two looks that saw the same before, the first to commit moves the position', async () => {
  await startPosition(store, { model, definition, seen: { mark: '1' } })
  const move = { model, trigger: 'file', from: { mark: '1' } }
  let second: Promise<boolean> | undefined
  await store.transaction(async (database) => {
    expect(await movePosition(database, { ...move, to: { mark: '2' } })).toBe(true)
    // Waits for the row until this transaction is committed.
    second = movePosition(store, { ...move, to: { mark: '3' } })
  })
  expect(await second).toBe(false)
  expect(await seen()).toEqual([{ mark: '2' }])
})

it('a start of the same trigger leaves its position, and one of a changed trigger replaces it', async () => {
  await startPosition(store, { model, definition, seen: { mark: '9' } })
  expect(await seen()).toEqual([{ mark: '2' }])
  await startPosition(store, { model, definition: { ...definition, glob: 'b' }, seen: { mark: '9' } })
  expect(await seen()).toEqual([{ mark: '9' }])
})

it('a trigger that could never look is listed with the reason', async () => {
  const trigger = 'watermark'
  const alert = {
    dedupeKey: triggerAlertKey(model, trigger),
    model,
    severity: 'warning',
    kind: 'trigger_unreadable',
    message: 'm',
    evidence: { trigger, problem: 'relation "orders" does not exist' },
  } as const
  await upsertAlert(store, alert)
  const listed = async () =>
    (await listTriggerActivity(store, [model])).filter((each) => each.trigger === trigger)
  expect(await listed()).toEqual([{ model, trigger, problem: 'relation "orders" does not exist' }])
  await resolveAlert(store, alert.dedupeKey, 'measured')
  expect(await listed()).toEqual([])
})

it('an attempt of a partition is inserted once', async () => {
  const batch = {
    name: 'daily',
    input: { kind: 'file', path: 'in/{date}.csv' } as const,
    output: { kind: 'table' } as const,
    key: [],
    partition: { from: '2026-11-01', afterMs: 0 },
  }
  const asked = partitionOf({ model, batch, values: { date: '2026-11-01' }, attempt: 1, reason: 'due' })
  const inserted = await Promise.all([1, 2, 3].map(() => insertPartition(store, asked)))
  expect(inserted.filter(Boolean)).toHaveLength(1)
})
