/** Starts a real system with a serving champion, and releases further versions. Each fleet test configures its own processes and policy. */
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import type { release as releaseWorkflow } from '../../../workflows/release.ts'
import { insertModel, insertPeople } from '../release/candidates.ts'
import { fixtureRelease, quickPolicy, type FixtureRelease } from '../release/release-fixture.ts'
import {
  insertKnownKey,
  startRealSystem,
  type RealSystem,
  type RealSystemOptions,
} from '../servers/system-fixture.ts'
import { orderedStart } from '../commands/signed.ts'

const step = { minMs: 2_000, minRequests: 20, deadlineMs: 60_000 }

/** A policy with three steps of two seconds, and leases of seconds. */
export const showPolicy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 60_000 },
  stages: [
    { ...step, shareBp: 2_000 },
    { ...step, shareBp: 5_000 },
  ],
  probation: { ...step, holdbackBp: 1_000 },
  watch: { tickMs: 200, everyMs: 200, exposureMs: 3_000, acknowledgeMs: 5_000, decisionMs: 30_000 },
  limits: { ...quickPolicy.limits, maxStaleMs: 5_000 },
}

export interface Show {
  system: RealSystem
  model: string
  /** The key of an administrator. */
  key: string
  champion(): Promise<string>
  /** Registers the next version and starts its release, with a different policy when one is given. */
  start(policy?: ReleasePolicy): Promise<{ release: FixtureRelease; version: string; champion: string }>
  /** Starts a release like `release`, and approves it. */
  approved(policy?: ReleasePolicy): Promise<{ release: FixtureRelease; version: string; champion: string }>
}

/** Starts the system and releases the first version. */
export async function openShow(
  options: RealSystemOptions,
  { model = 'pulse', policy = showPolicy }: { model?: string; policy?: ReleasePolicy } = {},
): Promise<Show> {
  const system = await startRealSystem(options)
  try {
    return await prepare(system, { model, policy })
  } catch (error) {
    process.stderr.write(`${system.lines.slice(-60).join('\n')}\n`)
    await system.stop()
    throw error
  }
}

async function prepare(
  system: RealSystem,
  { model, policy }: { model: string; policy: ReleasePolicy },
): Promise<Show> {
  const { store, client, config } = system
  await insertPeople(store, { anna: 'approver', olga: 'operator' })
  const key = await insertKnownKey(system, { name: 'root', role: 'admin' })
  const registry = await insertModel(store, { model, policy, artifactRoot: config.artifactRoot })
  const begin = async (version: string, changed?: ReleasePolicy): Promise<FixtureRelease> => {
    const handle = await client.workflow.start<typeof releaseWorkflow>('release', {
      workflowId: releaseWorkflowId(model),
      taskQueue: config.taskQueues.control,
      args: [await orderedStart(system, 'release', { model, version, requestedBy: 'olga', policy: changed })],
    })
    return fixtureRelease(system, handle)
  }
  const approve = async (release: FixtureRelease): Promise<void> => {
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
  }
  const first = await begin(await registry.register())
  await approve(first)
  const { outcome, reason } = await first.result()
  if (outcome !== 'promoted') throw new Error(`the first version was not promoted: ${reason}`)
  const champion = async () => (await findChampion(store, model))!.version
  const start: Show['start'] = async (changed) => {
    const now = await champion()
    const version = await registry.register(now)
    return { champion: now, version, release: await begin(version, changed) }
  }
  return {
    system,
    model,
    key,
    champion,
    start,
    async approved(changed) {
      const started = await start(changed)
      await approve(started.release)
      return started
    },
  }
}
