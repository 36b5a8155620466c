/** A new champion that the monitor finds beyond its alarms is taken back while it is on probation, by the release itself. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { resolveAlert, upsertAlert, type NewAlert } from '../../store/alerts.ts'
import { findChampion } from '../../store/champions.ts'
import { listDecisions } from '../../store/decisions.ts'
import { migratedDatabase, temporalAddress } from '../support/servers.ts'
import { openStage, type PlayedModel, type Stage } from '../support/stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await openStage({ databaseUrl: await migratedDatabase(), temporalAddress: temporalAddress() })
})
afterAll(async () => {
  await stage?.close()
})

/** Long enough that nothing but the alarm can end it. */
const probation = { holdbackBp: 1_000, minMs: 60_000, minRequests: 20, deadlineMs: 120_000 }

async function onProbation(): Promise<{
  show: PlayedModel
  champion: string
  candidate: string
  release: Awaited<ReturnType<PlayedModel['start']>>
}> {
  const show = await stage.model()
  const champion = await show.champion()
  const candidate = await show.register(champion)
  const release = await show.start(candidate, {
    strategy: 'blue_green',
    shadow: false,
    stages: [],
    probation,
  })
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  await release.reaches('probation')
  return { show, champion, candidate, release }
}
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
])('is taken back when %s', async (_name, change) => {
  const { show, champion, candidate, release } = await onProbation()
  const key = 'kind' in change ? { dedupeKey: `service/${show.name}/errors` } : {}
  // Neither a warning, nor what is known of the version before, nor what is over, is a reason.
  await upsertAlert(stage.store, alarm(show.name, candidate, { ...change, ...key, severity: 'warning' }))
  await upsertAlert(stage.store, alarm(show.name, champion, { ...change, ...key }))
  await resolveAlert(stage.store, alarm(show.name, candidate, key).dedupeKey)
  const before = (await listDecisions(stage.store, release.id)).length
  await expect
    .poll(async () => (await listDecisions(stage.store, release.id)).length, { timeout: 15_000 })
    .toBeGreaterThan(before)
  expect((await release.state()).stage).toBe('probation')

  const { message } = alarm(show.name, candidate, change)
  await upsertAlert(stage.store, alarm(show.name, candidate, { ...change, ...key }))
  expect(await release.result()).toMatchObject({ outcome: 'rolled_back', reason: message })
  expect(await findChampion(stage.store, show.name)).toMatchObject({ version: champion })
  const [last] = await listDecisions(stage.store, release.id)
  expect(last?.verdict).toMatchObject({ kind: 'fail', reasons: [{ code: 'monitor_alarm' }, {}] })
})
