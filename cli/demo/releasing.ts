/** Follows one release from approval to outcome and prints its progress. */
import { setTimeout as pause } from 'node:timers/promises'
import { isError } from '../../domain/errors.ts'
import { capitalized } from '../../domain/figures.ts'
import { withoutEvidence } from '../../domain/release/explain.ts'
import { canaryTicks } from '../../domain/release/evidence-builder.ts'
import { stepsOf, watchedPolicy, type ReleaseState } from '../../domain/release/state.ts'
import { findTicks } from '../../store/release/evidence.ts'
import { listDecisions } from '../../store/release/decisions.ts'
import { findRelease, listReleasesOfVersion, type Release } from '../../store/release/releases.ts'
import { commandSignals, type CommandMessage } from '../../workflows/messages.ts'
import { lapseText } from './narrator.ts'
import { countText } from '../../api/charts/figures.ts'
import { demoModel, people, type DemoWorld } from './world.ts'

const pollMs = 200
/** Longer than the sum of all deadlines of the demo policy. */
const maxWaitMs = 6_000_000

/** Waits until the release of a version needs approval, and returns it. Throws when it ends before, such as by its qualification. */
export async function awaitApproval(world: DemoWorld, version: string): Promise<Release> {
  const open = async () => {
    const [release] = await listReleasesOfVersion(world.store, version)
    if (release?.endedAt !== undefined)
      throw new Error(`${version} ended before its approval as ${release.outcome}: ${release.reason}`)
    return release?.state.stage === 'awaiting_approval' ? release : undefined
  }
  let line = 'Running pre-flight checks …'
  const found = until(open).then((release) => {
    line = '✓ Pre-flight: golden predictions, latency, memory'
    return release
  })
  return world.narrator.during(() => line, found)
}

/** Approves through the API, bound to the digests of artifact, evaluation and policy. */
export async function approveByApi(
  world: DemoWorld,
  { state }: Release,
  reason = state.baseline === undefined ? 'floors met' : 'better on the same rows',
): Promise<void> {
  const { message } = await world.approver.post<{ message: string }>(`/v1/releases/${state.id}/approve`, {
    reason,
    artifact_digest: state.digests.artifact,
    evaluation_digest: state.digests.evaluation,
    policy_digest: state.digests.policy,
  })
  world.narrator.done(`${capitalized(message)} (POST /v1/releases/${state.id}/approve)`)
}

/** Approves by a Temporal signal, as `tenure sign` prints it and `temporal workflow signal` sends it. */
export async function approveBySignal(world: DemoWorld, { state }: Release): Promise<void> {
  const { artifact, evaluation, policy } = state.digests
  const signed = await world.approver.post<{ workflow_id: string; payload: CommandMessage }>(
    `/v1/releases/${state.id}/sign`,
    {
      command: 'approve',
      reason: 'better on the same rows',
      artifact_digest: artifact,
      evaluation_digest: evaluation,
      policy_digest: policy,
    },
  )
  await world.temporal.workflow.getHandle(signed.workflow_id).signal(commandSignals.approve, signed.payload)
  await until(async () => {
    const release = await findRelease(world.store, state.id)
    return release !== undefined && release.state.stage !== 'awaiting_approval' ? release : undefined
  })
  world.narrator.done(
    `Approved by ${people.approver} (tenure sign approve ${demoModel}; temporal workflow signal --name approve --workflow-id ${signed.workflow_id})`,
  )
}

export interface Following {
  /** Called for each routed stage. */
  onStage?: (state: ReleaseState) => Promise<void>
  /**
   * The approver's reason for resuming a release whose predictions differ enough to need a decision. Without it, the release rolls back at
   * the deadline.
   */
  resumeReason?: string
}

/** Follows a release to its end and prints each stage. */
export async function followRelease(
  world: DemoWorld,
  id: string,
  { onStage, resumeReason }: Following = {},
): Promise<Release> {
  const { narrator } = world
  let release = await getRelease(world, id)
  let shown = ''
  let line = ''
  let ended = false
  const deadline = Date.now() + maxWaitMs
  while (!ended) {
    const { state } = release
    const name = nameOf(state)
    const enteredMs = Date.now()
    if (state.routed && name !== shown) {
      shown = name
      await onStage?.(state)
    }
    const isAsking = state.stage === 'awaiting_decision'
    if (isAsking) narrator.print(`Decision needed: ${withoutEvidence(state.lastVerdict?.reason ?? '')}`)
    if (isAsking && resumeReason !== undefined) await approveByApi(world, release, resumeReason)
    const passing = until(async () => {
      release = await getRelease(world, id)
      if (Date.now() > deadline) throw new Error(`${id} did not end within ${lapseText(maxWaitMs)}`)
      line = await lineOf(world, release.state, enteredMs)
      return release.endedAt !== undefined ||
        nameOf(release.state) !== name ||
        release.state.routed !== state.routed
        ? release
        : undefined
    })
    line = await lineOf(world, state, enteredMs)
    if (isAsking || watchedPolicy(state) === undefined || !state.routed) await passing
    else {
      let passed = false
      const watched = passing.then(() => (passed = true))
      await narrator.during(
        () => (passed ? `${name}: ended after ${lapseText(Date.now() - enteredMs)}` : line),
        watched,
      )
      await printVerdict(world, state)
    }
    ended = release.endedAt !== undefined
  }
  return release
}

export function nameOf(state: ReleaseState): string {
  switch (state.stage) {
    case 'shadow':
      return `shadow, ${share(state.shareBp)} of requests copied`
    case 'canary':
      return `canary, ${share(state.shareBp)} of traffic`
    case 'probation':
      return `probation, ${share(state.policy.probation?.holdbackBp ?? 0)} held back`
    default:
      return state.stage.replaceAll('_', ' ')
  }
}

const share = (bp: number): string => `${bp / 100} %`

async function lineOf(world: DemoWorld, state: ReleaseState, enteredMs: number): Promise<string> {
  const policy = watchedPolicy(state)
  if (policy === undefined || !state.routed) return `${nameOf(state)} …`
  const requests = await requestsIn(world, state)
  const done = Math.min(
    (Date.now() - enteredMs) / Math.max(policy.minMs, 1),
    requests / Math.max(policy.minRequests, 1),
  )
  return `${world.narrator.bar(done)} ${nameOf(state)}: ${countText(requests)} of ${countText(policy.minRequests)} requests`
}

/** Counts the canary requests since the start of the current stage. */
async function requestsIn({ store }: DemoWorld, state: ReleaseState): Promise<number> {
  const startedMs = state.routings.at(-1)?.startedMs ?? 0
  return canaryTicks(state, await findTicks(store, state.id))
    .filter((tick) => tick.startMs >= startedMs)
    .reduce((sum, tick) => sum + tick.canary.requests, 0)
}

/** Prints the last verdict of a completed stage. */
async function printVerdict(
  { narrator, store }: DemoWorld,
  { id, stage, stageIndex }: ReleaseState,
): Promise<void> {
  const decisions = await listDecisions(store, id)
  const last = decisions.find((each) => each.stage === stage && each.stageIndex === stageIndex)
  if (last === undefined) return
  const [reason] = last.verdict.reasons
  const text = `${last.verdict.kind}${reason === undefined ? '' : `: ${withoutEvidence(reason.message)}`}`
  if (last.verdict.kind === 'fail') narrator.wrong(text)
  else narrator.print(narrator.faint(`  ${text}`))
}

export function stagesOf(state: ReleaseState): string {
  const steps = stepsOf(state).map(({ stage, policy }) =>
    stage === 'targeted' ? 'targeted callers' : `${stage} ${share(policy.shareBp)}`,
  )
  return [...steps, '100 %', ...(state.policy.probation ? ['probation'] : [])].join(' → ')
}

async function getRelease({ store }: DemoWorld, id: string): Promise<Release> {
  const release = await findRelease(store, id)
  if (release === undefined) throw new Error(`release ${id} does not exist`)
  return release
}

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + maxWaitMs
  for (;;) {
    const found = await look().catch(ignorePostgresOutage)
    if (found !== undefined) return found
    if (Date.now() > deadline) throw new Error(`no progress within ${lapseText(maxWaitMs)}`)
    await pause(pollMs)
  }
}

/** Retries when Postgres responds late on a busy machine. */
function ignorePostgresOutage(error: unknown): undefined {
  if (!isError(error, 'postgres_unavailable')) throw error
}
