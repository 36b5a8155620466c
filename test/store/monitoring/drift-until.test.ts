/** Tests which drift a release page reads: that of the time of the release. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { lastDrift } from '../../../store/dashboard/release-detail.ts'
import type { Store } from '../../../store/postgres.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-drift-'))
let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(async () => {
  await store.close()
  rmSync(artifactRoot, { recursive: true, force: true })
})

it('an ended release has the last drift before its end, and an open one the newest', async () => {
  const { register } = await insertModel(store, { model: 'drifting', policy: releasePolicy, artifactRoot })
  const version = await register()
  const at = (hour: number) => `2026-11-27T0${hour}:00:00Z`
  for (const hour of [4, 5, 6])
    await store.query(sql`
      insert into drift_judgements (model, version, subject, from_at, to_at, level, report, inputs, policy, judge)
      values ('drifting', ${version}, 'served', ${at(hour - 1)}, ${at(hour)}, 'stable', '{}', '{}', '{}', 'drift@2')`)
  const lastAt = async (until?: string) => {
    const rows = await lastDrift(store, { model: 'drifting', versions: [version], until })
    return rows.map(({ toAt }) => Date.parse(toAt))
  }
  expect(await lastAt('2026-11-27T05:51:00Z')).toEqual([Date.parse(at(5))])
  expect(await lastAt('2026-11-27T03:51:00Z')).toEqual([])
  expect(await lastAt()).toEqual([Date.parse(at(6))])
})
