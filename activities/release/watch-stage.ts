/**
 * Watches a stage in one activity: observes, judges, stores the decision and renews the exposure lease. When the watcher crashes, the lease
 * expires and every replica drops the candidate. The stage clock is in Postgres, so the next watcher resumes it.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { Context } from '@temporalio/activity'
import { pinReason, type Flag } from '../../domain/serving/kill-switch.ts'
import {
  judge,
  overruled,
  withFacts,
  type Judgement,
  type StageLook,
} from '../../domain/release/judge-stage.ts'
import { nextEffect } from '../../domain/release/next-effect.ts'
import { isShadowLimited, spentShadow } from '../../domain/release/shadow-cost.ts'
import { alwaysAsks, observedStage, type ReleaseState } from '../../domain/release/state.ts'
import { needsApprover, type Verdict, type Reason } from '../../domain/verdict.ts'
import { countShadowRows } from '../../store/release/evidence.ts'
import { recordObservation } from '../../store/release/decisions.ts'
import { currentState, type StepInput, type StepReport } from '../../store/release/releases.ts'
import { readSimulatedOutage } from '../../store/release/drills.ts'
import { findKillSwitch } from '../../store/serving/kill-switches.ts'
import { findRouting, renewExposure } from '../../store/serving/routing.ts'
import { laggingReplicas, listReplicaProgress } from '../../store/serving/replicas.ts'
import { failureOf, recordDecision } from './decide.ts'
import { openGoldenWatch, type GoldenWatch } from '../artifact/golden-watch.ts'
import type { Deps } from '../deps.ts'
import { auditStaleWrite } from './audit-fenced-write.ts'
import type { Beat } from '../runtime/heartbeat.ts'
import { externalReader } from './evidence/external-metrics.ts'
import { servedReader } from './evidence/served-rows.ts'
import { heldComparisons, type Observation } from '../../domain/release/evidence-builder.ts'
import { createObserver } from './observe.ts'
import { releaseStep } from './release-step.ts'
import { isRouteOf } from './route.ts'
import { isHoldbackNoBetter } from '../../domain/canary/holdback.ts'
import type { AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import { listAlarmsAgainst } from '../../store/monitoring/alerts.ts'

const otherWriter = 'another writer has changed the routing'

export const watch = (deps: Deps) =>
  releaseStep(deps, 'watch', async (given, beat, input) => {
    const golden = await openGoldenWatch(deps, given.version)
    try {
      return await watchStage(deps, given, { beat, golden, input })
    } finally {
      await golden.close()
    }
  })

async function watchStage(
  deps: Deps,
  given: ReleaseState,
  { beat, golden, input }: { beat: Beat; golden: GoldenWatch; input: StepInput },
): Promise<StepReport | undefined> {
  const effect = nextEffect(given)
  const { hold, deadlineMs } = effect.kind === 'watch' ? effect : { hold: false, deadlineMs: 0 }
  const verdictAgainst = async (): Promise<StepReport | undefined> => {
    const failed = await failureOf(deps.store, given)
    return failed === undefined ? undefined : { kind: 'judged', verdict: 'fail', reason: failed, due: false }
  }
  // The previous watch may have been cancelled after it stored its verdict.
  const before = await verdictAgainst()
  if (before !== undefined) return before
  const state = await routedState(deps, given)
  if (state === undefined) return auditStaleWrite(deps, given, 'exposure', otherWriter)
  const { everyMs } = state.policy.watch
  const stage = observedStage(state)
  const observe = createObserver(deps, state, externalReader(deps, state), servedReader(deps, state))
  const isTemporalReachable = createTemporalReachability()
  let written = ''
  for (;;) {
    beat.check()
    // A command that its workflow does not look at ends this watch too.
    if (nextEffect(await currentState(deps.store, input)).key !== input.step) return undefined
    if (state.drill === 'dead-worker' && (await readSimulatedOutage(deps.store, state.id)))
      await playDead(beat)
    const flag = await findKillSwitch(deps.store, state.model)
    const pinned = pinReason(flag)
    const { watchedMs, observedMs: lookedMs } = await recordObservation(deps.store, {
      releaseId: state.id,
      stage,
      stageIndex: state.stageIndex,
      // Without exposure there is no evidence, so the stage clock pauses too.
      paused: hold || pinned !== undefined,
      maxGapMs: 2 * everyMs,
    })
    const { judgement, seen } = await look(deps, state, observe, { hold, pinned, watchedMs, golden })
    const { verdict, reason } = judgement
    const isLate = flag && pinned ? isOver(flag, lookedMs, state) : watchedMs >= deadlineMs
    const due = !hold && (isLate || needsApprover(verdict))
    const final = verdict.kind === 'fail' || (!hold && (verdict.kind === 'pass' || due))
    const { canary, control, targeted, external, breakers, served } = judgement.inputs
    const spent = await findSpent(deps, state, canary)
    const counted = JSON.stringify([
      spent?.code,
      verdict.kind,
      canary,
      control,
      targeted,
      external,
      breakers,
      served,
      seen.behind,
    ])
    // A look without new data is not stored as a decision. A verdict that ends the watch is stored with all that it follows from.
    if (final) await recordDecision(deps, state, judgement, seen)
    else if (counted !== written) await recordDecision(deps, state, overruled(judgement, verdict.kind, spent))
    written = counted
    const { questions } = verdict
    if (final) {
      const asks = alwaysAsks(state, verdict)
      return { kind: 'judged', verdict: verdict.kind, reason, due, questions, ...(asks && { asks }) }
    }
    // A later watch may have stored a verdict before this watch hears of its cancellation, and newer requests may have changed the
    // evidence.
    const meanwhile = await verdictAgainst()
    if (meanwhile !== undefined) return meanwhile
    // Without exposure, replicas copy no requests.
    const exposed =
      spent === undefined &&
      mayBeExposed(verdict, seen.observation.staleMs, state) &&
      (await isTemporalReachable())
    if (exposed && !(await expose(deps, state, lookedMs)))
      return auditStaleWrite(deps, state, 'exposure', otherWriter)
    await beat.sleep(everyMs)
  }
}

interface Look {
  judgement: Judgement
  seen: StageLook
}

/** Judges the present evidence. */
async function look(
  deps: Deps,
  state: ReleaseState,
  observe: ReturnType<typeof createObserver>,
  {
    hold,
    pinned,
    watchedMs,
    golden,
  }: { hold: boolean; pinned: string | undefined; watchedMs: number; golden: GoldenWatch },
): Promise<Look> {
  let observation = { ...(await observe()), watchedMs }
  let judged = judge(state, observation)
  // No stage passes while shadow pairs, outcomes or users are unread; a busy machine reads them rarely. A pass that is held back for
  // hours reads nothing more.
  const mayPass = judged.verdict.kind === 'pass' && !hold && pinned === undefined
  const late = mayPass ? await findBehind(deps, state) : []
  if (mayPass && late.length === 0) {
    observation = { ...(await observe(true)), watchedMs }
    judged = judge(state, observation)
  }
  const { staleMs } = observation
  const facts = {
    state,
    observation,
    pinned,
    alarm: (await findAlarm(deps, state, observation)) ?? (await findChange(state, golden)),
  }
  const alarmed = withFacts(judged, { ...facts, behind: [] })
  // A replica that has followed since does not make up for what was not read.
  const mayLag = late.length === 0 && isDoubtful(alarmed.verdict, staleMs, state)
  const behind = mayLag ? await findBehind(deps, state) : late
  const seen = { ...facts, behind }
  return { judgement: withFacts(judged, seen), seen }
}

/** The state with its evidence; undefined when the present route is not the route of its stage. */
async function routedState(deps: Deps, state: ReleaseState): Promise<ReleaseState | undefined> {
  const now = await findRouting(deps.store, state.model)
  if (now === undefined || !isRouteOf(now.route, state)) return undefined
  // Evidence from before the route was written belongs to another stage.
  const routings = state.routings.map((each, i) =>
    i < state.routings.length - 1 ? each : { ...each, startedMs: Math.max(each.startedMs, now.writtenMs) },
  )
  return { ...state, routings }
}

/** Longer than the heartbeat timeout, so that another watcher takes over and this one is cancelled. */
const deadMs = 60_000

async function playDead(beat: Beat): Promise<never> {
  beat.fallSilent()
  await beat.sleep(deadMs)
  throw new Error('the drill has silenced this watch')
}

/** A kill switch that stays set ends the release like a forgotten pause. */
const isOver = (flag: Flag, nowMs: number, { policy }: ReleaseState): boolean =>
  nowMs - Date.parse(flag.at) >= policy.watch.decisionMs

/**
 * Whether a verdict renews the exposure. Missing counters do not, because they may hide failures; fresh counters of zero requests do,
 * because an idle hour must not end a release.
 */
export function mayBeExposed(verdict: Verdict, staleMs: number | null, state: ReleaseState): boolean {
  if (verdict.kind === 'fail' || verdict.kind === 'error') return false
  return staleMs !== null && staleMs <= state.policy.limits.maxStaleMs
}

/** Whether lagging replicas matter now: for a pass, and for missing data, which one replica may cause. */
function isDoubtful({ kind }: Verdict, staleMs: number | null, { policy }: ReleaseState): boolean {
  return kind === 'pass' || staleMs === null || staleMs > policy.limits.maxStaleMs
}

const findBehind = async ({ store }: Deps, state: ReleaseState): Promise<string[]> =>
  laggingReplicas(await listReplicaProgress(store, state.model), state)

/** Applies in probation too: an unwatched champion gives way to the last known good version. */
function expose({ store }: Deps, state: ReleaseState, lookedMs: number): Promise<boolean> {
  const { id: release, model, epoch, generation, policy } = state
  const { exposureMs } = policy.watch
  return renewExposure(store, { model, release, epoch, generation, observedMs: lookedMs, exposureMs })
}

// Fails the probation of a new champion on an alarm of its monitor. The monitor sees outcomes; the release itself does not.

/** Alarms that a holdback excuses. */
const ofQuality: ReadonlySet<AlertKind> = new Set(['quality_lost', 'quality_floor'])

/** Finds an open alarm about the version in probation, also while a person decides; warnings and alarms of earlier versions do not count. */
export async function findAlarm(
  { store }: Pick<Deps, 'store'>,
  state: ReleaseState,
  seen: Pick<Observation, 'holdback' | 'isUnread' | 'coverage'> = {},
): Promise<Reason | undefined> {
  const { model, version } = state
  if (observedStage(state) !== 'probation' || !state.promoted) return undefined
  // When the previous champion is equally wrong, the world has changed: a retraining helps, a rollback does not.
  // Before the outcomes are read, that is unknown; and where they are missing by the answer, the alarm may come from those.
  const { holdback, isUnread } = seen
  const isHeld = Object.hasOwn(heldComparisons(seen), 'holdback')
  const isExcused = holdback === undefined ? isUnread === true : isHeld || isHoldbackNoBetter(holdback)
  const alarms = await listAlarmsAgainst(store, { model, version })
  const alarm = alarms.find(({ kind }) => !(isExcused && ofQuality.has(kind)))
  return (
    alarm && { code: 'monitor_alarm', message: alarm.message, values: { alert: alarm.id, kind: alarm.kind } }
  )
}

/** Finds that the copies of a shadow have cost what they may. A failed copy has no pair, and a request may have several rows. */
async function findSpent(
  { store }: Pick<Deps, 'store'>,
  state: ReleaseState,
  copies: unknown,
): Promise<Reason | undefined> {
  if (!isShadowLimited(state)) return undefined
  const { requests } = copies as { requests: number }
  return spentShadow(state, Math.max(requests, await countShadowRows(store, state.id)))
}

/** Finds that another model answers a candidate than the one that was judged. */
async function findChange({ version }: ReleaseState, golden: GoldenWatch): Promise<Reason | undefined> {
  const found = await golden.look()
  if (typeof found === 'string') return undefined
  return { code: 'answers_changed', message: `${version}: ${found.change}`, values: {} }
}

// Checks that the workflow of an activity can still be reached, so that a candidate is exposed only while a rollback could be ordered.
// False while Temporal is unreachable or the workflow task keeps failing.

/** How long a check stays valid; also its timeout. */
const freshMs = 900

/** Returns a check that tells whether Temporal answered recently, asking it when needed. */
function createTemporalReachability(): () => Promise<boolean> {
  let answeredAt = -Infinity
  return async () => {
    const askedAt = performance.now()
    if (askedAt - answeredAt <= freshMs) return true
    const answer = askTemporal().then(
      () => true,
      () => false,
    )
    const answered = await Promise.race([answer, pause(freshMs, false, { ref: false })])
    if (answered) answeredAt = askedAt
    return answered
  }
}

async function askTemporal(): Promise<void> {
  const { client, info } = Context.current()
  const { workflowNamespace: namespace, workflowExecution: execution } = info
  if (namespace === undefined || execution === undefined) throw new Error('the activity has no workflow')
  const request = { namespace, execution }
  const { pendingWorkflowTask } = await client.workflowService.describeWorkflowExecution(request)
  // A new task or a first attempt is normal.
  if ((pendingWorkflowTask?.attempt ?? 0) > 1) throw new Error('the last task of the workflow has failed')
}
