/** Tests that a gateway whose requests stay unknown raises an alert, although it is looked at again and again. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { expect, it, onTestFinished } from 'vitest'
import { reportGateways } from '../../../activities/alerts/delivery/deliver.ts'
import { openRequestCounts } from '../../../store/gateways/request-counts.ts'
import { listOpenAlertKeys } from '../../../store/monitoring/alerts.ts'
import { ownGateways, writeLook } from '../../../store/serving/gateways.ts'
import { openActivityDeps } from '../../support/activity-deps.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { uniqueName } from '../../support/servers/servers.ts'

it('raises an alert for a gateway whose counters Prometheus does not tell', async () => {
  const deps = await openActivityDeps()
  const { store } = deps
  const folder = mkdtempSync(join(tmpdir(), 'tenure-counts-'))
  onTestFinished(async () => {
    rmSync(folder, { recursive: true })
    await deps.store.close()
  })
  const metricSources = join(folder, 'metric-sources.json')
  writeFileSync(metricSources, '{}')
  const model = uniqueName('roses')
  const owner = uniqueName('replica')
  await insertModel(store, { model, policy: releasePolicy, artifactRoot: deps.config.artifactRoot })
  const metrics = { source: 'prometheus', requests: 'r{s="$service"}', status: 'code', settleMs: 90_000 }
  const traffic = { gateway: 'http_route', namespace: 'default', name: 'roses', rule: 0, metrics }
  await store.query(sql`
    update models set definition = jsonb_set(definition, '{traffic}', ${JSON.stringify(traffic)}::jsonb) where name = ${model}`)
  await ownGateways(store, { owner, leaseMs: 600_000 })
  let nowMs = 1_000_000
  const counts = openRequestCounts(metrics, { metricSources, now: () => nowMs })
  const version = `${model}_v1.0.0`
  const unread = () =>
    counts.of({ [version]: 100 }, { words: { [version]: {} }, isInForce: true })[version]!.unread
  unread()
  nowMs += 20_000
  await expect.poll(unread).toMatch(/names no prometheus/)
  const look = () =>
    writeLook(store, { model, owner, epoch: 0, generation: 1, switchRevision: 0, problem: unread() })
  expect(await look()).toBe(true)
  await store.query(sql`update gateways set since = since - interval '1 minute' where model = ${model}`)
  nowMs += 20_000
  await look()
  await reportGateways(store)
  expect(await listOpenAlertKeys(store, ['gateway_not_following'], { model })).toHaveLength(1)
})
