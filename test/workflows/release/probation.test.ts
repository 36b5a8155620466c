/** Tests that a release rolls back a new champion during probation when the monitor raises an alarm. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listAlerts, resolveAlert, upsertAlert, type NewAlert } from '../../../store/monitoring/alerts.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { listDecisions } from '../../../store/release/decisions.ts'
import { insertQualityJudgement } from '../../../store/monitoring/monitor-windows.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { ownServers } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
  type FixtureModel,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})

/** Long enough that only the alarm can end it. */
const probation = { holdbackBp: 1_000, minMs: 60_000, minRequests: 20, deadlineMs: 120_000 }

async function onProbation(
  changed: Parameters<FixtureModel['start']>[1] = { probation },
  labelsMs?: number,
): Promise<{
  fixtureModel: FixtureModel
  champion: string
  candidate: string
  release: Awaited<ReturnType<FixtureModel['start']>>
}> {
  const fixtureModel = await fixture.model()
  const champion = await fixtureModel.champion()
  if (labelsMs !== undefined) await learnt(fixtureModel.name, champion, labelsMs)
  const candidate = await fixtureModel.register(champion)
  const release = await fixtureModel.start(candidate, {
    strategy: 'blue_green',
    shadow: false,
    stages: [],
    ...changed,
  })
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  await release.reaches('probation')
  return { fixtureModel, champion, candidate, release }
}
/** Records the monitor's measurement that outcomes take this long, and a window of 100 ms. */
const learnt = (model: string, version: string, labelsMs: number) =>
  insertQualityJudgement(fixture.store, {
    model,
    version,
    fromMs: 0,
    toMs: 100,
    report: { level: 'held', judge: 'quality@1' } as never,
    inputs: { maturity: { status: 'ok', horizonMs: labelsMs - 100, delays: 200 }, predictions: 9, labels: 9 },
    policy: {} as never,
  })
const watchedMs = async (release: string): Promise<number> => {
  const [row] = await fixture.store.query<{ watched_ms: number }>(
    sql`select watched_ms from stage_clocks where release_id = ${release} and stage = 'probation'`,
  )
  return row?.watched_ms ?? 0
}

describe('outcomes that come later than the probation would end', () => {
  const short = { holdbackBp: 1_000, minMs: 150, minRequests: 20, deadlineMs: 60_000 }

  it('end it by a rollback when they show lost quality', async () => {
    const { fixtureModel, champion, candidate, release } = await onProbation(
      { probation: { ...short, coverLabels: true } },
      3_600_000,
    )
    await expect.poll(() => watchedMs(release.id)).toBeGreaterThan(4 * short.minMs)
    expect((await release.state()).stage).toBe('probation')
    const found = alarm(fixtureModel.name, candidate, {
      kind: 'quality_lost',
      dedupeKey: `quality/${fixtureModel.name}`,
    })
    await upsertAlert(fixture.store, found)
    expect(await release.result()).toMatchObject({ outcome: 'rolled_back', reason: found.message })
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: champion })
  })

  it('let it end as promoted when they have come and show no loss', async () => {
    const { candidate, fixtureModel, release } = await onProbation(
      { probation: { ...short, coverLabels: true } },
      1_500,
    )
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    expect(await watchedMs(release.id)).toBeGreaterThanOrEqual(1_500)
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: candidate })
  })

  it('are not awaited by a policy with a fixed probation', async () => {
    const { release } = await onProbation({ probation: short }, 3_600_000)
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  })
})

const alarm = (model: string, version: string, change: Partial<NewAlert> = {}): NewAlert => ({
  dedupeKey: `quality_floor/${model}`,
  model,
  severity: 'critical',
  kind: 'quality_floor',
  message: `${version}: accuracy on matured outcomes is 0.79, the limit is 0.8`,
  evidence: { version },
  ...change,
})

it.each([
  ['its accuracy is below 80 %', {}],
  [
    'more than 2 % of its answers fail',
    { kind: 'service_errors', message: 'too many errors: 3 % > 2 %' } as const,
  ],
  [
    'its quality is lost',
    { kind: 'quality_lost', message: 'auc 0.61, at its evaluation 0.7, margin 0.005' } as const,
  ],
  [
    'its answers differ from those of the training code',
    { kind: 'serving_skew', message: '3 of 60 rows differ from training: score in 3' } as const,
  ],
])('a champion on probation is rolled back when %s', async (_name, change) => {
  const { fixtureModel, champion, candidate, release } = await onProbation()
  const keys = {
    service_errors: `service/${fixtureModel.name}/errors`,
    quality_lost: `quality/${fixtureModel.name}`,
    serving_skew: `skew/${fixtureModel.name}`,
  }
  const key = 'kind' in change ? { dedupeKey: keys[change.kind] } : {}
  // Warnings, findings about the previous version, and resolved findings are not reasons.
  await upsertAlert(
    fixture.store,
    alarm(fixtureModel.name, candidate, { ...change, ...key, severity: 'warning' }),
  )
  await upsertAlert(fixture.store, alarm(fixtureModel.name, champion, { ...change, ...key }))
  await resolveAlert(fixture.store, alarm(fixtureModel.name, candidate, key).dedupeKey, 'measured')
  const before = (await listDecisions(fixture.store, release.id)).length
  await expect
    .poll(async () => (await listDecisions(fixture.store, release.id)).length)
    .toBeGreaterThan(before)
  expect((await release.state()).stage).toBe('probation')

  const { message } = alarm(fixtureModel.name, candidate, change)
  await upsertAlert(fixture.store, alarm(fixtureModel.name, candidate, { ...change, ...key }))
  expect(await release.result()).toMatchObject({ outcome: 'rolled_back', reason: message })
  expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: champion })
  const [last] = await listDecisions(fixture.store, release.id)
  expect(last?.verdict).toMatchObject({ kind: 'fail', reasons: [{ code: 'monitor_alarm' }, {}] })
})

describe('a champion whose schema differs from that of its predecessor', () => {
  const dropsFeature = (version: string) =>
    fixture.store.query(
      sql`update versions set manifest = manifest #- '{features,y}' where version = ${version}`,
    )
  /** By now its clients may have stopped sending a feature that the previous champion needs. */
  async function narrowed() {
    const scene = await onProbation()
    await dropsFeature(scene.candidate)
    const incompatibility = `what callers of ${scene.candidate} send and read does not fit ${scene.champion}: it needs y, which callers need not send now`
    return { ...scene, incompatibility }
  }

  it('is rolled back, and the alert names the changes that its clients need', async () => {
    const { fixtureModel, champion, candidate, release, incompatibility } = await narrowed()
    const found = alarm(fixtureModel.name, candidate)
    await upsertAlert(fixture.store, found)
    const reason = `${found.message}; ${incompatibility}`
    expect(await release.result()).toMatchObject({ outcome: 'rolled_back', reason })
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: champion })
    expect((await release.state()).rollbackResult).toMatchObject({
      champion,
      incompatibilities: ['it needs y, which callers need not send now'],
    })
    const told = (await listAlerts(fixture.store, { model: fixtureModel.name, open: true })).find(
      ({ kind }) => kind === 'release_rolled_back',
    )
    expect(told?.message).toContain(reason)
  })

  it('raises no alert about clients if it was never champion', async () => {
    const fixtureModel = await fixture.model()
    const candidate = await fixtureModel.register(await fixtureModel.champion())
    await dropsFeature(candidate)
    const release = await fixtureModel.start(candidate, { shadow: false })
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    await release.reaches('canary')
    await release.say('abort', 'anna', { reason: 'enough' })
    expect((await release.result()).reason).not.toContain('does not fit')
    expect((await release.state()).rollbackResult).not.toMatchObject({ incompatibilities: expect.anything() })
  })

  it('is rolled back when its workflow was terminated', async () => {
    const { fixtureModel, champion, release, incompatibility } = await narrowed()
    await release.handle.terminate()
    const after = await fixtureModel.start(await fixtureModel.register(champion))
    await after.reaches('awaiting_approval')
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: champion })
    expect(await findRelease(fixture.store, release.id)).toMatchObject({
      outcome: 'rolled_back',
      reason: `its workflow no longer runs: it was terminated, or a backup was restored; ${incompatibility}`,
    })
    await after.say('abort', 'anna')
    await after.result()
  })
})
