/** Starts the real system for a model whose callers ask a gateway. */
import sql from 'sql-template-tag'
import type { Traffic } from '../../../domain/serving/gateway.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import { orderedStart } from '../commands/signed.ts'
import { insertModel, insertPeople, type Registry } from '../release/candidates.ts'
import { fixtureRelease, type FixtureRelease } from '../release/release-fixture.ts'
import { startRealSystem, type RealSystem } from './system-fixture.ts'

export interface GatewaySystem {
  system: RealSystem
  registry: Registry
  /** Starts a release of olga and approves it as anna. */
  start(version: string, policy?: ReleasePolicy): Promise<FixtureRelease>
}

export async function startGatewaySystem(
  traffic: Traffic,
  {
    model,
    policy,
    replicas,
    privateHosts = ['127.0.0.1'],
  }: { model: string; policy: ReleasePolicy; replicas: number; privateHosts?: string[] },
): Promise<GatewaySystem> {
  const system = await startRealSystem({
    replicas,
    leaseMs: 2_000,
    environment: { TENURE_PRIVATE_HOSTS: privateHosts.join() },
  })
  await insertPeople(system.store, { anna: 'approver', olga: 'operator' })
  const registry = await insertModel(system.store, {
    model,
    policy,
    artifactRoot: system.config.artifactRoot,
  })
  await system.store.query(
    sql`update models set definition = jsonb_set(definition, '{traffic}', ${JSON.stringify(traffic)}::jsonb) where name = ${model}`,
  )
  return {
    system,
    registry,
    async start(version, changed) {
      const handle = await system.client.workflow.start('release', {
        workflowId: releaseWorkflowId(model),
        taskQueue: system.config.taskQueues.control,
        args: [
          await orderedStart(system, 'release', { model, version, requestedBy: 'olga', policy: changed }),
        ],
      })
      const release = fixtureRelease(system, handle)
      await release.reaches('awaiting_approval')
      await release.say('approve', 'anna')
      return release
    },
  }
}
