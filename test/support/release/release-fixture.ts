/** Runs releases on a control worker, with models that have a first champion, a fleet of replica rows, and users with keys. */
import type { Servers } from '../servers/servers.ts'
import type { WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client'
import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import {
  type CommandName,
  type ReleaseStage,
  type ReleaseState,
  releaseIdOf,
} from '../../../domain/release/state.ts'
import { findRelease } from '../../../store/release/releases.ts'
import {
  commandSignals,
  commandUpdates,
  releaseStatus,
  releaseWorkflowId,
  type CommandResult,
  type ReleaseOutcome,
} from '../../../workflows/messages.ts'
import type { release as releaseWorkflow } from '../../../workflows/release.ts'
import { insertModel, insertPeople, type Registry } from './candidates.ts'
import { startCore, type Core } from './core.ts'
import { recorded, type GivenCommand, type Signing, orderedStart } from '../commands/signed.ts'
import { startFleet, type Fleet, type Traffic } from '../serving/replica-rows.ts'
import { seatChampion } from '../serving/seed-champion.ts'

const timeoutMs = 200_000
const step = { minMs: 150, minRequests: 20, deadlineMs: 60_000 }

/** A policy whose release takes two seconds, and longer on a busy machine: only tests set deadlines. */
export const quickPolicy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 200_000 },
  shadow: { ...step, shareBp: 10_000 },
  stages: [
    { ...step, shareBp: 1_000 },
    { ...step, shareBp: 5_000 },
  ],
  probation: { ...step, holdbackBp: 1_000 },
  // One look runs ten statements; a stage of 150 ms needs three looks instead of five.
  watch: { tickMs: 50, everyMs: 100, exposureMs: 5_000, acknowledgeMs: 10_000, decisionMs: 60_000 },
  limits: {
    ...defaultCanaryPolicy,
    maxStaleMs: 10_000,
    promotion: 'off',
    srm: 'off',
    // The answers of the registered networks differ at random, so agreement is not limited.
    scoreShift: 'off',
    disagreement: 'off',
  },
}

export interface FixtureRelease {
  id: string
  handle: WorkflowHandleWithFirstExecutionRunId<typeof releaseWorkflow>
  state(): Promise<ReleaseState>
  /** Waits for a stage. Fails when the release is past it. */
  reaches(stage: ReleaseStage, stageIndex?: number): Promise<ReleaseState>
  /** Sends an update and returns its answer. */
  say(name: CommandName, by: string, more?: Partial<GivenCommand>): Promise<CommandResult>
  /** Sends a signal, which has no answer. */
  signal(name: CommandName, command: GivenCommand): Promise<void>
  result(): Promise<ReleaseOutcome>
}

export interface FixtureModel extends Registry {
  name: string
  traffic: Traffic
  /** Registers a proven first champion without a release and returns its name. */
  champion(): Promise<string>
  /** Releases a first champion and returns its name. */
  releasedChampion(): Promise<string>
  start(version: string, changes?: PolicyChanges): Promise<FixtureRelease>
}

export type PolicyChanges = Partial<Omit<ReleasePolicy, 'shadow' | 'probation'>> & {
  /** False omits the stage. */
  shadow?: false | ReleasePolicy['shadow']
  probation?: false | ReleasePolicy['probation']
}

export interface ReleaseFixture extends Core {
  fleet: Fleet
  model(policy?: ReleasePolicy): Promise<FixtureModel>
  close(): Promise<void>
}

export async function openReleaseFixture(servers: Servers): Promise<ReleaseFixture> {
  const core = await startCore(servers)
  const fleet = startFleet(core.store, { replicas: ['r1', 'r2'], tickMs: quickPolicy.watch.tickMs })
  await insertPeople(core.store, {
    anna: 'approver',
    ben: 'approver',
    olga: 'operator',
    vera: 'viewer',
    root: 'admin',
  })
  return {
    ...core,
    fleet,
    async model(policy = quickPolicy) {
      const name = `model-${randomBytes(5).toString('hex')}`
      const registry = await insertModel(core.store, {
        model: name,
        policy,
        artifactRoot: core.config.artifactRoot,
      })
      return fixtureModel(core, { name, traffic: fleet.trafficOf(name), registry, policy })
    },
    async close() {
      await fleet.stop()
      await core.stop()
    },
  }
}

function fixtureModel(
  core: Core,
  {
    name,
    traffic,
    registry,
    policy,
  }: { name: string; traffic: Traffic; registry: Registry; policy: ReleasePolicy },
): FixtureModel {
  const start = async (version: string, changes: PolicyChanges = {}) => {
    const { shadow, probation, ...rest } = changes
    const changed: ReleasePolicy = { ...policy, ...rest }
    if (shadow === false) delete changed.shadow
    else if (shadow) changed.shadow = shadow
    if (probation === false) delete changed.probation
    else if (probation) changed.probation = probation
    const handle = await core.client.workflow.start<typeof releaseWorkflow>('release', {
      workflowId: releaseWorkflowId(name),
      taskQueue: core.config.taskQueues.control,
      args: [
        await orderedStart(core, 'release', { model: name, version, requestedBy: 'olga', policy: changed }),
      ],
    })
    return fixtureRelease(core, handle)
  }
  return {
    ...registry,
    name,
    traffic,
    start,
    async champion() {
      const version = await registry.register()
      await seatChampion(core.store, name, version)
      return version
    },
    async releasedChampion() {
      const version = await registry.register()
      const release = await start(version)
      await release.reaches('awaiting_approval')
      await release.say('approve', 'anna')
      const { outcome, reason } = await release.result()
      if (outcome !== 'promoted') throw new Error(`the first version was not promoted: ${reason}`)
      return version
    },
  }
}

export function fixtureRelease(
  signing: Signing,
  handle: WorkflowHandleWithFirstExecutionRunId<typeof releaseWorkflow>,
): FixtureRelease {
  const { store } = signing
  const id = releaseIdOf(handle.firstExecutionRunId)
  const state = async () => (await findRelease(store, id))?.state ?? handle.query(releaseStatus)
  return {
    id,
    handle,
    state,
    async reaches(stage, stageIndex) {
      const until = performance.now() + timeoutMs
      for (;;) {
        const now = (await findRelease(store, id))?.state
        if (now?.stage === stage && (stageIndex === undefined || now.stageIndex === stageIndex)) return now
        if (now?.outcome !== undefined) throw new Error(`it has ended as ${now.outcome}: ${now.reason}`)
        if (performance.now() > until) throw new Error(`it is ${now?.stage ?? 'not open'}, not ${stage}`)
        await pause(30)
      }
    },
    async say(name, by, more = {}) {
      const command = await recorded(signing, handle, name, { by, ...more })
      return handle.executeUpdate(commandUpdates[name], { args: [command] })
    },
    async signal(name, command) {
      await handle.signal(commandSignals[name], await recorded(signing, handle, name, command))
    },
    result: () => handle.result(),
  }
}
