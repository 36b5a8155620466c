/**
 * Races the restore of a backup against rollbacks. Releases in probation are backed up with the candidate as champion, and each is rolled
 * back at a random moment around the commit of the restore.
 */
import { randomInt } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createSweep } from '../../../activities/worker/parted-runs.ts'
import { makeBackup } from '../../../cli/backup/create.ts'
import type { Installation } from '../../../cli/backup/installation.ts'
import { restoreBackup } from '../../../cli/backup/restore.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { listOpenWorkflows } from '../../../workflows/client/inspect.ts'
import type { ReleaseStage } from '../../../domain/release/state.ts'
import { quickPolicy, type ReleaseFixture } from '../release/release-fixture.ts'
import type { RaceResult } from './races.ts'

const step = { minMs: 100_000, minRequests: 20, deadlineMs: 200_000 }
/**
 * Milliseconds around the moment at which the restore locks the first table. Orders from before that moment are still being executed then.
 */
const around = { beforeMs: 800, afterMs: 200 }

/**
 * Makes one backup and one restore for `count` releases, each with its own rollback. `lockMs` is the time to the lock in the previous
 * restore.
 */
export async function raceRestore(
  fixture: ReleaseFixture,
  count: number,
  lockMs: number,
): Promise<RaceResult & { lockMs: number }> {
  const { store, config } = fixture
  const releases = await Promise.all(Array.from({ length: count }, () => onProbation(fixture)))
  const place: Installation = {
    config,
    databaseUrl: config.databaseUrl,
    running: false,
    close: () => Promise.resolve(),
  }
  const file = join(config.stateDir, `race-${Date.now().toString(36)}.tar`)
  await makeBackup(place, { file, snapshots: false, allowMissing: true })
  const from = performance.now()
  const since = () => performance.now() - from
  let lockedMs: number | undefined
  let restoredMs = Infinity
  const restoring = restoreBackup(place, {
    backup: { path: file, name: file },
    replace: true,
    reSign: false,
    actor: 'a race',
    onProgress: (what) => void (what.startsWith('table') && (lockedMs ??= since())),
  }).then(() => {
    restoredMs = since()
  })
  const answers = await Promise.all(
    releases.map(async ({ release }) => {
      await pause(
        randomInt(Math.max(0, Math.round(lockMs - around.beforeMs)), Math.round(lockMs + around.afterMs)),
      )
      // A release that has ended accepts no command.
      const answer = await release.say('rollback', 'olga', { reason: 'a race' }).catch(() => undefined)
      return { accepted: answer?.accepted === true, answeredMs: since() }
    }),
  )
  await restoring
  rmSync(file)
  const raced = { winners: new Map<string, number>(), issues: [] as string[], lockMs: lockedMs ?? lockMs }
  const ended = await Promise.all(releases.map(({ release }) => release.result()))
  // The restore undoes a rollback that finished earlier; the control worker ends such a release in its second sweep.
  // Temporal's list of open workflows lags behind.
  const workflowIds = new Set(releases.map(({ release }) => release.handle.workflowId))
  while (
    (await listOpenWorkflows(fixture.client, config.taskQueues.control)).some((id) => workflowIds.has(id))
  )
    await pause(50)
  const sweep = createSweep(fixture.deps, fixture.client)
  const redone = [...(await sweep()).closed, ...(await sweep()).closed]
  for (const [index, { name, first, release }] of releases.entries()) {
    const { accepted, answeredMs } = answers[index]!
    const { outcome, reason } = ended[index]!
    const stored = (await findRelease(store, release.id))?.outcome
    const now = (await findChampion(store, name))?.version
    const arms = (await findRouting(store, name))?.route.arms ?? []
    const fail = (issue: string) => raced.issues.push(`${release.id}: ${issue} (${outcome}: ${reason})`)
    if (accepted && !['rolled_back', 'aborted'].includes(outcome)) fail('the order was accepted')
    if ((accepted || outcome === 'rolled_back') && now !== first) fail(`${now} is champion`)
    if (stored !== outcome) fail(`its row says ${stored}`)
    if (arms.length !== 1 || arms[0]?.version !== now)
      fail(`${now} is champion, the route is ${JSON.stringify(arms)}`)
    const when = answeredMs < raced.lockMs ? 'before' : answeredMs < restoredMs ? 'during' : 'after'
    const winner = redone.includes(release.id)
      ? 'ended before the restore and again after it'
      : accepted
        ? `accepted ${when} the restore`
        : `refused, ${outcome} before it`
    raced.winners.set(winner, (raced.winners.get(winner) ?? 0) + 1)
  }
  return raced
}

async function onProbation(fixture: ReleaseFixture) {
  const { name, register, champion, start } = await fixture.model()
  const first = await champion()
  const release = await start(await register(first), {
    strategy: 'direct',
    shadow: false,
    approval: { approvers: 1, withinMs: 120_000 },
    probation: { ...step, holdbackBp: 1_000 },
    // Several databases are loaded and restored in parallel.
    watch: { ...quickPolicy.watch, acknowledgeMs: 10_000 },
  })
  const reaches = (stage: ReleaseStage) => release.reaches(stage).catch(() => release.reaches(stage))
  await reaches('awaiting_approval')
  await release.say('approve', 'anna')
  await reaches('probation')
  return { name, first, release }
}
