/** Tests when test rows of a snapshot may be among the training rows of an earlier one, and which snapshots count as earlier ones. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  insertSnapshot,
  listEarlierRows,
  mayTestTrained,
  insertValidation,
} from '../../../store/training/snapshots.ts'
import type { Store } from '../../../store/postgres.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-snapshots-'))
let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
  await insertModel(store, { model: 'roses', policy: releasePolicy, artifactRoot })
})
afterAll(async () => {
  await store.close()
  rmSync(artifactRoot, { recursive: true, force: true })
})

it.each<[string, Record<string, unknown>, boolean, Record<string, unknown>?]>([
  ['of another split', { split: 'b' }, true],
  ['of the same split', { split: 'a' }, false],
  ['of an unknown split', {}, false],
  ['of another split with an older event', { split: 'b', firstTestEvent: '2026-02-28T00:00:00Z' }, true],
  ['of another split, all younger', { split: 'b', firstTestEvent: '2026-03-02T00:00:00Z' }, false],
  [
    'of another split, younger than the time of rows without times',
    { split: 'b', firstTestEvent: '2026-03-02T00:00:00Z' },
    true,
    {},
  ],
  [
    'of another split, younger than rows without times',
    { split: 'b', firstTestEvent: new Date(Date.now() + 60_000).toISOString() },
    false,
    {},
  ],
])('test rows %s: %o', async (name, source, wanted, times = { newestEvent: '2026-02-01T00:00:00Z' }) => {
  const facts = { model: 'roses', rows: 9, bytes: 9, columns: {} }
  const [snapshot, earlier] = [`new ${name}`, `earlier ${name}`]
  await insertSnapshot(store, {
    ...facts,
    digest: earlier,
    asOf: '2026-03-01T00:00:00Z',
    source: { split: 'a', ...times },
  })
  await insertSnapshot(store, { ...facts, digest: snapshot, asOf: '2026-04-01T00:00:00Z', source })
  expect(await mayTestTrained(store, { snapshot, earlier })).toBe(wanted)
})

it('a snapshot that another model had taken of equal rows counts as an earlier one of each model that validated it', async () => {
  for (const model of ['lilies', 'tulips'])
    await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  const facts = { model: 'lilies', bytes: 9, columns: {}, asOf: '2026-03-01T00:00:00Z', source: {} }
  for (const [digest, rows] of [
    ['shared', 700],
    ['of lilies', 800],
  ] as const)
    await insertSnapshot(store, { ...facts, digest, rows })
  const validation = { snapshotDigest: 'shared', verdict: 'pass', report: {} } as const
  await insertValidation(store, { ...validation, id: 'val_tulips', model: 'tulips' })
  // Logged requests are no rows to train on.
  const source = { kind: 'logged requests' }
  await insertSnapshot(store, { ...facts, digest: 'requests', rows: 900, source })
  // Each model has a first snapshot of two rows.
  expect(await listEarlierRows(store, { model: 'tulips', except: 'new' })).toEqual([700, 2])
  expect(await listEarlierRows(store, { model: 'lilies', except: 'new' })).toEqual([800, 700, 2])
  expect(await listEarlierRows(store, { model: 'tulips', except: 'shared' })).toEqual([2])
})
