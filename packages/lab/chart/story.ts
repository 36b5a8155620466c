/**
 * Runs a release on the installed chart under load: with `helm upgrade` and `helm rollback` in the middle of its canary, or without, as the
 * reference.
 */
import { chown } from 'node:fs/promises'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { insertKey } from '../../../store/access/api-keys.ts'
import type { Store } from '../../../store/postgres.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { findOpenRelease, findRelease, type Release } from '../../../store/release/releases.ts'
import { insertModel } from '../../../test/support/release/candidates.ts'
import { endingOf, issuesOfInvariants, type Ending } from '../../../test/support/release/ending.ts'
import { startAsker, type Asker } from '../../../test/support/fleet/callers.ts'
import { sayTo, untilHolds } from '../../../test/support/fleet/fleet-stage.ts'
import { quantileOf } from '../../../test/support/figures.ts'
import { whereText, watchedCanary } from '../harness/watched-canary.ts'
import { imageUser } from './container.ts'

export interface ChartStage {
  store: Store
  /** The Service of the API. */
  url: string
  /** The volume that all pods share, as this machine sees it. */
  claim: string
  /** Keys of the API. */
  keys: Record<'operator' | 'approver' | 'predictor', string>
}

export interface ChartRelease {
  answered: number
  failures: Asker['failures']
  p50Ms: number
  p99Ms: number
  ending: Ending
  issues: string[]
  /** Stage of the release after each step during its canary. */
  after: Record<string, string>
}

export interface ReleaseOptions {
  model: string
  /** Minimum duration of the first canary stage. */
  canarySeconds: number
  perSecond: number
  /** Steps during the canary, in order. */
  steps: Readonly<Record<string, () => Promise<unknown>>>
}

const callerPauseMs = 100

export async function openChartStage(store: Store, url: string, claim: string): Promise<ChartStage> {
  const keyOf = async (role: keyof ChartStage['keys']) =>
    (await insertKey(store, { name: `chart-${role}`, role })).key
  const keys = {
    operator: await keyOf('operator'),
    approver: await keyOf('approver'),
    predictor: await keyOf('predictor'),
  }
  return { store, url, claim, keys }
}

export async function playChartRelease(stage: ChartStage, options: ReleaseOptions): Promise<ChartRelease> {
  const { store, url } = stage
  const { model, perSecond } = options
  const artifactRoot = join(stage.claim, 'artifacts')
  const registry = await insertModel(store, {
    model,
    policy: watchedCanary({ canarySeconds: options.canarySeconds, minRequests: 50, deadlineMs: 900_000 }),
    artifactRoot,
  })
  const register = async (against?: string): Promise<string> => {
    const version = await registry.register(against)
    await giveToImage(artifactRoot)
    return version
  }
  const first = await begin(stage, model, await register())
  await untilEnded(store, first)
  const version = await register((await findChampion(store, model))?.version)
  const asker = startAsker({
    targets: [url],
    // A busy machine delays responses and clients.
    each: Math.max(1, Math.round((1.4 * perSecond * callerPauseMs) / 1_000)),
    model,
    key: stage.keys.predictor,
    row: { x: 0, y: 300 },
    pauseMs: callerPauseMs,
    requestsEach: 50,
  })
  try {
    const { state } = await begin(stage, model, version)
    await untilHolds(
      () => findRelease(store, state.id),
      (found) => found?.state.stage === 'canary',
      { what: 'the release is in its canary', withinMs: 180_000 },
    )
    const after: Record<string, string> = {}
    for (const [name, step] of Object.entries(options.steps)) {
      await step()
      after[name] = whereText((await findRelease(store, state.id))!.state)
    }
    await untilEnded(store, (await findRelease(store, state.id))!)
    await pause(2_000)
    await asker.stop()
    const ending = await endingOf(store, model, state.id)
    return {
      answered: asker.answered,
      failures: asker.failures,
      p50Ms: quantileOf(asker.timesMs, 0.5),
      p99Ms: quantileOf(asker.timesMs, 0.99),
      // A busy machine records a command and delivers it later; the way of delivery does not count for the outcome.
      ending: { ...ending, audit: ending.audit.filter((action) => !action.startsWith('command.')) },
      issues: await issuesOfInvariants(store, { model, releaseId: state.id, seated: 0 }),
      after,
    }
  } finally {
    await asker.stop()
  }
}

/** Requests the release of a version, and approves it. */
async function begin({ store, url, keys }: ChartStage, model: string, version: string): Promise<Release> {
  // A replica may not have read the new key yet.
  await untilHolds(
    () => sayTo(url, keys.operator)<{ code?: string }>('POST', '/v1/releases', { model, version }),
    (answer) => answer.code === undefined,
    { what: `the release of ${version} is accepted`, everyMs: 500, withinMs: 60_000 },
  )
  const open = await untilHolds(
    () => findOpenRelease(store, model),
    (found) => found?.state.stage === 'awaiting_approval',
    { what: `${version} awaits its approval`, everyMs: 100, withinMs: 180_000 },
  )
  await sayTo(url, keys.approver)('POST', `/v1/releases/${open!.state.id}/approve`, {})
  return open!
}

const untilEnded = (store: Store, { state }: Release) =>
  untilHolds(
    () => findRelease(store, state.id),
    (found) => found?.endedAt !== undefined,
    { what: `the release of ${state.version} has ended`, everyMs: 200, withinMs: 900_000 },
  )

/** Gives the files that this process has written to the user of the pods. */
async function giveToImage(folder: string): Promise<void> {
  for (const path of ['', ...readdirSync(folder, { recursive: true, encoding: 'utf8' })])
    await chown(join(folder, path), imageUser, imageUser)
}
