/**
 * Runs a release of an older build during which the whole system is upgraded to this build, under load. Without the upgrade it is the
 * reference.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { verifyAudit } from '../../../store/audit/audit-log.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { findOpenRelease, findRelease, type Release } from '../../../store/release/releases.ts'
import { laggingReplicas, listReplicaProgress } from '../../../store/serving/replicas.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { endingOf, issuesOfInvariants, type Ending } from '../../../test/support/release/ending.ts'
import { startAsker, type Asker } from '../../../test/support/fleet/callers.ts'
import { untilHolds } from '../../../test/support/fleet/fleet-stage.ts'
import { quantileOf } from '../../../test/support/figures.ts'
import { whereText, watchedCanary } from '../harness/watched-canary.ts'
import type { FormerBuild } from './former.ts'
import { openUpgradeStage, upgradedModel, type UpgradeStage } from './stage.ts'

export type UpgradeCandidate = 'good' | 'bad'

export interface StoryOptions {
  candidate: UpgradeCandidate
  /** Whether the processes are replaced; otherwise the older build runs to the end. */
  upgrades: boolean
  /** Minimum duration of the first canary stage, in which the upgrade takes place. */
  canarySeconds: number
  /** How long both builds run in parallel after each step. */
  sideBySideSeconds: number
  requestsPerSecond: number
  say: (line: string) => void
}

export interface UpgradeStep {
  name: string
  seconds: number
  failed: number
  /** Stage of the release after the step. */
  release: string
}

export interface StoryReport {
  candidate: UpgradeCandidate
  answered: number
  failures: Asker['failures']
  perSecond: number
  p50Ms: number
  p99Ms: number
  maxMs: number
  steps: UpgradeStep[]
  /** The output of `tenure upgrade check`. */
  checked: string
  ending: Ending
  reason: string
  issues: string[]
  /** Workflow tasks and activities of the release by build, and tasks that failed. */
  work: Record<
    'formerTasks' | 'presentTasks' | 'formerActivities' | 'presentActivities' | 'failedTasks',
    number
  >
}

/** Pause between a response and the next request of one client. */
const callerPauseMs = 100
/** All versions predict the same for these rows. */
const calmRow = { x: 0, y: 300 }
/** Here a bad candidate answers "no" where the champion answers "yes". */
const tellingRow = { x: 0, y: -5 }

export async function runUpgrade(former: FormerBuild, options: StoryOptions): Promise<StoryReport> {
  const { candidate, upgrades, requestsPerSecond, say } = options
  const stage = await openUpgradeStage(
    former,
    watchedCanary({ canarySeconds: options.canarySeconds, minRequests: 100, deadlineMs: 600_000 }),
  )
  const { store, sharedUrl, lines } = stage.system
  const askers: Asker[] = []
  const ask = (row: object, perSecond: number) =>
    void askers.push(
      startAsker({
        targets: [sharedUrl],
        // A busy machine delays responses and clients.
        each: Math.round((1.4 * perSecond * callerPauseMs) / 1_000),
        model: upgradedModel,
        row,
        pauseMs: callerPauseMs,
        requestsEach: 200,
      }),
    )
  try {
    await releaseFirst(stage)
    const version = await stage.register((await findChampion(store, upgradedModel))?.version, candidate)
    const fromMs = performance.now()
    ask(calmRow, requestsPerSecond)
    const release = await begin(stage, version)
    const { id } = release.state
    await untilStage(stage, id, 'canary')
    let checked = ''
    const steps: UpgradeStep[] = []
    const step = async (name: string, work: () => Promise<unknown>): Promise<void> => {
      const [startedMs, failedBefore] = [performance.now(), failuresOf(askers).length]
      await work()
      await pause(options.sideBySideSeconds * 1_000)
      const { state } = (await findRelease(store, id))!
      const seconds = (performance.now() - startedMs) / 1_000 - options.sideBySideSeconds
      const where = whereText(state)
      steps.push({ name, seconds, failed: failuresOf(askers).length - failedBefore, release: where })
      say(`${name}: ${seconds.toFixed(1)} s, ${where}`)
    }
    if (upgrades) {
      await step('check', async () => (checked = await stage.command('upgrade', 'check')))
      await step('migrate', () => stage.command('models', 'sync'))
    }
    for (const [place, name] of stage.order.entries()) {
      // One worker and one replica of each build are running.
      if (place === 2 && candidate === 'bad') ask(tellingRow, requestsPerSecond / 2)
      if (upgrades) await step(name, () => stage.replace(name))
    }
    const ended = await untilHolds(
      () => findRelease(store, id),
      (found) => found?.endedAt !== undefined,
      { what: 'the release has ended', everyMs: 200, withinMs: 600_000 },
    )
    await pause(2_000)
    const seconds = (performance.now() - fromMs) / 1_000
    await Promise.all(askers.map((asker) => asker.stop()))
    const timesMs = askers.flatMap((asker) => asker.timesMs)
    const answered = askers.reduce((sum, asker) => sum + asker.answered, 0)
    const issues = await issuesOfInvariants(store, { model: upgradedModel, releaseId: id, seated: 0 })
    const { breach } = await verifyAudit(store)
    return {
      candidate,
      answered,
      failures: failuresOf(askers),
      perSecond: answered / seconds,
      p50Ms: quantileOf(timesMs, 0.5),
      p99Ms: quantileOf(timesMs, 0.99),
      maxMs: quantileOf(timesMs, 1),
      steps,
      checked: checked.trim(),
      ending: await endingOf(store, upgradedModel, id),
      reason: ended!.state.reason ?? '',
      issues: [...issues, ...(breach === undefined ? [] : [breach])],
      work: await workOf(stage, ended!),
    }
  } catch (error) {
    process.stderr.write(`${lines.slice(-60).join('\n')}\n`)
    throw error
  } finally {
    await Promise.all(askers.map((asker) => asker.stop()))
    await stage.stop()
  }
}

const failuresOf = (askers: readonly Asker[]): Asker['failures'] => askers.flatMap(({ failures }) => failures)

async function releaseFirst(stage: UpgradeStage): Promise<void> {
  const version = await stage.register(undefined, 'good')
  const { state } = await begin(stage, version)
  await untilHolds(
    () => findRelease(stage.system.store, state.id),
    (found) => found?.outcome === 'promoted',
    { what: 'the first version is promoted', withinMs: 120_000 },
  )
  await untilHolds(
    async () => {
      const { route } = (await findRouting(stage.system.store, upgradedModel))!
      return laggingReplicas(await listReplicaProgress(stage.system.store, upgradedModel), route)
    },
    (lagging) => lagging.length === 0,
    { what: 'every replica serves the first version', withinMs: 120_000 },
  )
}

/** Requests the release of a version, and approves it. */
async function begin(stage: UpgradeStage, version: string): Promise<Release> {
  const { store } = stage.system
  await stage.say('operator', 'POST', '/v1/releases', { model: upgradedModel, version })
  const open = await untilHolds(
    () => findOpenRelease(store, upgradedModel),
    (found) => found?.state.stage === 'awaiting_approval',
    { what: `${version} awaits its approval`, withinMs: 120_000 },
  )
  await stage.say('approver', 'POST', `/v1/releases/${open!.state.id}/approve`, {})
  return open!
}

const untilStage = ({ system: { store } }: UpgradeStage, id: string, wanted: string) =>
  untilHolds(
    () => findRelease(store, id),
    (found) => found?.state.stage === wanted,
    { what: `the release is in ${wanted}`, withinMs: 120_000 },
  )

/** Reads from the history which build executed which tasks. */
async function workOf(
  { system: { client }, workers }: UpgradeStage,
  { workflowId, runId }: Release,
): Promise<StoryReport['work']> {
  const { events } = await client.workflow.getHandle(workflowId, runId).fetchHistory()
  const work = { formerTasks: 0, presentTasks: 0, formerActivities: 0, presentActivities: 0, failedTasks: 0 }
  const buildOf = (identity: string | null | undefined) =>
    workers.get(Number(identity?.split('@')[0])) ?? 'former'
  for (const event of events ?? []) {
    const task = event.workflowTaskCompletedEventAttributes
    const activity = event.activityTaskStartedEventAttributes
    if (task) work[`${buildOf(task.identity)}Tasks`]++
    if (activity) work[`${buildOf(activity.identity)}Activities`]++
    const failed = event.workflowTaskFailedEventAttributes
    if (failed && failed.failure?.message !== undefined) work.failedTasks++
  }
  return work
}
