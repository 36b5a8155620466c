/**
 * Starts a control worker, a replica with its API, one model, keys of four roles and clients with continuous requests, on the real servers.
 */
import { startDelivery } from '../../../api/services/command-delivery.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import { migratedDatabase, temporalAddress } from '../servers/servers.ts'
import { servingFixtureOn, startApi, type ServingFixture, type TestApi } from '../serving/serving-fixture.ts'
import { insertModel, type Registry } from '../release/candidates.ts'
import { startCore, type Core } from '../release/core.ts'

const step = { minMs: 100, minRequests: 5, deadlineMs: 120_000 }
/** A policy with one approval and one stage of half of the traffic. */
export const oneStagePolicy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 1, withinMs: 60_000 },
  stages: [{ ...step, shareBp: 5_000 }],
  watch: { tickMs: 50, everyMs: 100, exposureMs: 2_000, acknowledgeMs: 10_000, decisionMs: 60_000 },
  limits: { ...defaultCanaryPolicy, maxStaleMs: 5_000, promotion: 'off', srm: 'off' },
}

export interface ReleaseSystem {
  core: Core
  fixture: ServingFixture
  api: TestApi
  registry: Registry
  /** Keys of olga (operator), anna (approver), vera (viewer) and root (admin). */
  keys: Record<'olga' | 'anna' | 'vera' | 'root', string>
  stop(): Promise<void>
}

export interface ReleaseSystemOptions {
  model: string
  policy?: ReleasePolicy
  leaseMs?: number
  callers: number
  /** The pause between two requests, in milliseconds. */
  everyMs: number
}

export async function startReleaseSystem(options: ReleaseSystemOptions): Promise<ReleaseSystem> {
  const { model, policy = oneStagePolicy, leaseMs, callers, everyMs } = options
  const databaseUrl = await migratedDatabase()
  const core = await startCore({ databaseUrl, temporalAddress: temporalAddress() })
  const { artifactRoot, temporal, taskQueues } = core.config
  const fixture = servingFixtureOn({ databaseUrl, artifactRoot })
  const registry = await insertModel(fixture.store, { model, policy, artifactRoot })
  const keys = {
    olga: await fixture.key({ name: 'olga', role: 'operator' }),
    anna: await fixture.key({ name: 'anna', role: 'approver' }),
    vera: await fixture.key({ name: 'vera', role: 'viewer' }),
    root: await fixture.key({ name: 'root', role: 'admin' }),
  }
  const { address, namespace } = temporal
  const api = await startApi(fixture, {
    leaseMs,
    temporal: { address, namespace, controlQueue: taskQueues.control },
  })
  // As each replica does: on a busy machine Temporal may be late, and a start is deferred.
  const stopDelivery = startDelivery(api.deps, () => {})
  let going = true
  const traffic = ask()
  return {
    core,
    fixture,
    api,
    registry,
    keys,
    async stop() {
      going = false
      await Promise.all([traffic, stopDelivery()])
      await api.stop()
      await fixture.close()
      await core.stop()
    },
  }

  async function ask(): Promise<void> {
    for (let i = 0; going; i++) {
      try {
        api.ask(model, { instances: [{ x: 1, y: 2 }], routing_key: `caller ${i % callers}` })
      } catch {
        // Requests cannot be served before the first champion, and a drill's candidate fails on purpose.
      }
      await new Promise((resolve) => setTimeout(resolve, everyMs))
    }
  }
}
