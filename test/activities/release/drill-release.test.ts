/** Tests which release a drill may have, for a drill that a schedule has begun. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openDrill, planDrills } from '../../../activities/drill/drill.ts'
import type { ReleaseId } from '../../../domain/release/state.ts'
import { findDrill, listOpenDrills } from '../../../store/release/drills.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { openAs } from '../../support/commands/open-ordered.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let deps: ActivityDeps
let model: string
/** A drill that has a candidate and no release yet. */
let id: string
let workflowExecution: { workflowId: string; runId: string }
beforeAll(async () => {
  deps = await openActivityDeps()
})
afterAll(() => deps?.close())
beforeEach(async () => {
  const { store, config } = deps
  model = uniqueName('drilled')
  const drill = { kinds: ['bad'], cron: '0 3 1 * *' }
  const policy = { ...releasePolicy, drill } as typeof releasePolicy
  const { register } = await insertModel(store, { model, policy, artifactRoot: config.artifactRoot })
  await store.query(sql`insert into champions (model, version) values (${model}, ${await register()})`)
  const runId = randomUUID()
  workflowExecution = { workflowId: `drill/${model}-2026-01-01T03:00:00Z`, runId }
  id = `drl_${runId.replaceAll('-', '')}00`
  const environment = new MockActivityEnvironment({ workflowExecution })
  expect(await environment.run(() => planDrills(deps)({ model }))).toEqual({ kinds: ['bad'] })
  expect(await environment.run(() => openDrill(deps)({ id, model }))).toHaveProperty('version')
})

const newId = () => `rel_${randomUUID().replaceAll('-', '')}` as const
const open = (of: string, release: ReleaseId) =>
  openAs(
    deps,
    { workflowId: `release/${of}`, runId: release.slice('rel_'.length) },
    { model: of, order: id, id: release },
  )
const refused = { refused: expect.stringContaining('no row asks for it') as string }

describe('a drill of a schedule', () => {
  it('keeps the workflow that has opened it, which has the time of the schedule in its id', async () => {
    expect(await listOpenDrills(deps.store, model)).toEqual([
      { ...workflowExecution, id, runId: workflowExecution.runId.replaceAll('-', '') },
    ])
  })

  it('has the release that opens first, also when its opening is repeated, and no second one', async () => {
    const release = newId()
    expect(await open(model, release)).toMatchObject({ state: { id: release, drill: 'bad' } })
    expect(await open(model, newId())).toEqual(refused)
    expect(await open(model, release)).toMatchObject({ state: { id: release } })
    expect(await findDrill(deps.store, id)).toMatchObject({ releaseId: release })
  })

  it('has no release of another model, none with another id than a release has, and none after its end', async () => {
    const { store, config } = deps
    const other = uniqueName('other')
    await insertModel(store, { model: other, policy: releasePolicy, artifactRoot: config.artifactRoot })
    const ended = newId()
    expect(await open(other, newId())).toEqual(refused)
    expect(await open(model, 'rel_told')).toEqual(refused)
    expect((await findDrill(store, id))?.releaseId).toBeUndefined()
    await store.query(sql`update drills set passed = false, message = '', ended_at = now() where id = ${id}`)
    expect(await open(model, ended)).toEqual(refused)
    expect(await findRelease(store, ended)).toBeUndefined()
  })
})
