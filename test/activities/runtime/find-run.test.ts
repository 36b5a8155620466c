/** Tests late openings of a release, a retraining and a drill: the worker was frozen, and the run has a successor. */
import { MockActivityEnvironment } from '@temporalio/testing'
import type { Client } from '@temporalio/client'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { planDrills } from '../../../activities/drill/drill.ts'
import { openRelease } from '../../../activities/release/open-release.ts'
import { openRetraining } from '../../../activities/retrain/retraining.ts'
import { findDrill, insertDrill } from '../../../store/release/drills.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { findRetraining } from '../../../store/training/retrainings.ts'
import { beginTraining, getTraining } from '../../../store/training/trainings.ts'
import { orderedStart } from '../../support/commands/signed.ts'
import { insertModel, insertPeople } from '../../support/release/candidates.ts'
import { snapshotOf } from '../../support/serving/registration.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { releaseIdOf } from '../../../domain/release/state.ts'

let deps: ActivityDeps
let model: string
let version: string
/** Run ids of the late run and of its successor. */
let late: string
let successor: string
beforeAll(async () => {
  deps = await openActivityDeps()
  await insertPeople(deps.store, { olga: 'operator' })
})
afterAll(() => deps?.close())
beforeEach(async () => {
  model = uniqueName('late')
  late = randomUUID()
  successor = randomUUID()
  const { artifactRoot } = deps.config
  const registry = await insertModel(deps.store, { model, policy: releasePolicy, artifactRoot })
  version = await registry.register()
})

/** Runs an activity of a run while Temporal reports which run is the newest and whether it is open. */
function run<T>(
  runId: string,
  newest: { runId: string; status: 1 | 2; workflowId?: string },
  work: () => Promise<T>,
): Promise<T> {
  const { status, workflowId } = newest
  const describeWorkflowExecution = ({ execution }: { execution: { workflowId: string } }) =>
    workflowId === undefined || workflowId === execution.workflowId
      ? Promise.resolve({ workflowExecutionInfo: { status, firstRunId: newest.runId } })
      : Promise.reject(Object.assign(new Error('not found'), { code: 5 }))
  const workflowService = { describeWorkflowExecution }
  const withAbortSignal = (_signal: AbortSignal, each: () => Promise<T>) => each()
  const client = { workflowService, withAbortSignal } as unknown as Client
  return new MockActivityEnvironment({ workflowExecution: { workflowId: 'w', runId } }, { client }).run(work)
}

interface Kind {
  /** Opens the row of the run; undefined when another one is open. */
  open: (run: string) => Promise<boolean>
  isOpen: (run: string) => Promise<boolean>
}

const release: Kind = {
  async open(runId) {
    const request = { model, version, requestedBy: 'olga' }
    const more = { id: releaseIdOf(runId), workflowId: `release/${model}`, runId, atMs: Date.now() }
    return (
      'state' in (await openRelease(deps)({ ...(await orderedStart(deps, 'release', request)), ...more }))
    )
  },
  isOpen: async (runId) => (await findRelease(deps.store, releaseIdOf(runId)))?.endedAt === undefined,
}

const retraining: Kind = {
  async open(runId) {
    const request = await orderedStart(deps, 'retrain', { model, requestedBy: 'olga' })
    return openRetraining(deps)({ ...request, retrainingId: `retrain/${model}/${runId}` }).then(
      ({ throttled }) => throttled === undefined,
      () => false,
    )
  },
  isOpen: async (runId) =>
    (await findRetraining(deps.store, `retrain/${model}/${runId}`))?.endedAt === undefined,
}

const drillOf = (runId: string) => `drl_${runId.replaceAll('-', '')}00`
const drill: Kind = {
  async open(runId) {
    const request = { model, kinds: ['bad' as const], requestedBy: 'olga' }
    await planDrills(deps)(await orderedStart(deps, 'drill', request))
    const row = { model, kind: 'bad', traffic: 'mirrored', requestedBy: 'olga', harmBudget: 1 } as const
    return insertDrill(deps.store, { id: drillOf(runId), ...row }).then(
      () => true,
      () => false,
    )
  },
  isOpen: async (runId) => (await findDrill(deps.store, drillOf(runId)))?.endedAt === undefined,
}

describe.each([
  ['release', release],
  ['retraining', retraining],
  ['drill', drill],
])('the opening of a %s', (_name, { open, isOpen }) => {
  const none = { runId: '', status: 2 } as const

  it('leaves the row of its successor', async () => {
    expect(await run(successor, none, () => open(successor))).toBe(true)
    expect(await run(late, { runId: successor, status: 1 }, () => open(late))).toBe(false)
    expect(await isOpen(successor)).toBe(true)
  })

  it('closes the row of a run that has ended', async () => {
    expect(await run(late, none, () => open(late))).toBe(true)
    expect(await run(successor, { runId: successor, status: 1 }, () => open(successor))).toBe(true)
    expect(await isOpen(late)).toBe(false)
    expect(await isOpen(successor)).toBe(true)
  })
})

it('a drill of a schedule, which adds its time to the workflow id, stays open while its run is', async () => {
  const row = { model, kind: 'bad', traffic: 'mirrored', requestedBy: 'olga', harmBudget: 1 } as const
  const workflowId = `drill/${model}-2026-01-01T03:00:00Z`
  await insertDrill(deps.store, { id: drillOf(late), ...row, workflowId })
  await run(successor, { runId: late, status: 1, workflowId }, () => drill.open(successor))
  expect(await drill.isOpen(late)).toBe(true)
  await run(successor, { runId: late, status: 2, workflowId }, () => drill.open(successor))
  expect(await drill.isOpen(late)).toBe(false)
})

it('a retraining that is opened ends the training of the previous one, and no other', async () => {
  const trainingOf = async (runId: string) => {
    const digests = { snapshotDigest: snapshotOf(model), codeDigest: 'c', dependenciesDigest: 'd' }
    const id = `trn_${runId.replaceAll('-', '')}`
    await beginTraining(deps.store, { id, model, ...digests, seed: 1, hyperparameters: {} })
    return async () => (await getTraining(deps.store, id)).status
  }
  await run(late, { runId: '', status: 2 }, () => retraining.open(late))
  const [ended, other] = await Promise.all([trainingOf(late), trainingOf(randomUUID())])
  await run(successor, { runId: successor, status: 1 }, () => retraining.open(successor))
  expect([await ended(), await other()]).toEqual(['failed', 'running'])
})
