/**
 * Starts the system for the chaos loop: two replicas, a control and a training worker, Temporal and Postgres as processes. Each worker and
 * replica reaches both servers over separate links, and all processes except Temporal read a clock that can be stepped.
 */
import { replicaName } from '../../../cli/supervisor/rolling-restart.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { loadModel, modelsDirectory } from '../../../models/index.ts'
import { insertKey } from '../../../store/access/api-keys.ts'
import { upsertModels } from '../../../store/registry/models.ts'
import { showPolicy } from '../../../test/support/fleet/fleet-fixture.ts'
import { insertModel, type Registry } from '../../../test/support/release/candidates.ts'
import { canSkew, clockMaker, type WallClock } from '../../../test/support/servers/clock-skew.ts'
import { mountSmallDisk, type SmallDisk } from '../../../test/support/servers/small-disk.ts'
import {
  startRealSystem,
  withEnvironment,
  type RealSystem,
} from '../../../test/support/servers/system-fixture.ts'
import { openLink, openProxyLine, type Link } from '../../../test/support/fleet/proxy.ts'

export const chaosModel = 'chaos'
/** A model with a model file, for retrainings. */
export const trainedModel = 'iris'
const replicas = 2
/** The production value. */
const leaseMs = 5_000
const diskMb = 3_000

export interface ChaosStage extends RealSystem {
  registry: Registry
  keys: Record<'admin' | 'operator' | 'approver', string>
  /** `<process> → <server>` → link. */
  links: Map<string, Link>
  /** Empty without a compiler. */
  clocks: Map<string, WallClock>
  /** Absent when the user is not root. */
  disk?: SmallDisk
}

const policy: ReleasePolicy = {
  ...showPolicy,
  approval: { approvers: 1, withinMs: 120_000 },
  limits: { ...showPolicy.limits, maxStaleMs: 10_000 },
}

export async function openChaosStage(onLine?: (name: string, line: string) => void): Promise<ChaosStage> {
  const links: ChaosStage['links'] = new Map()
  const clocks: ChaosStage['clocks'] = new Map()
  const disk = mountSmallDisk(diskMb)
  const close = () => {
    links.forEach((link) => link.close())
    disk?.close()
  }
  let system: RealSystem | undefined
  try {
    system = await startRealSystem({
      replicas,
      leaseMs,
      trains: true,
      stateRoot: disk?.path,
      onLine,
      async changes({ databaseUrl, temporalAddress, stateDir }) {
        const environments = new Map<string, Record<string, string>>()
        const [host = '', port] = temporalAddress.split(':')
        for (const name of [replicaName(0), replicaName(1), 'control', 'train']) {
          const line = await openProxyLine(databaseUrl)
          const link = await openLink({ host, port: Number(port) })
          links.set(`${name} → postgres`, line).set(`${name} → temporal`, link)
          environments.set(name, { DATABASE_URL: line.url, TEMPORAL_ADDRESS: `127.0.0.1:${link.port}` })
        }
        const makeClock = canSkew() ? clockMaker(stateDir) : undefined
        return (spec) => {
          // A Go program reads the clock without libraries.
          const clock = spec.name === 'temporal' ? undefined : makeClock?.(spec.name)
          if (clock !== undefined) clocks.set(spec.name, clock)
          return withEnvironment(spec, { ...clock?.environment, ...environments.get(spec.name) })
        }
      },
    })
    const { store, config, stop } = system
    const keys = { admin: '', operator: '', approver: '' }
    for (const role of ['admin', 'operator', 'approver'] as const)
      keys[role] = (await insertKey(store, { name: `chaos-${role}`, role })).key
    await upsertModels(store, [await loadModel(trainedModel, modelsDirectory)])
    const registry = await insertModel(store, {
      model: chaosModel,
      policy,
      artifactRoot: config.artifactRoot,
    })
    return {
      ...system,
      registry,
      keys,
      links,
      clocks,
      disk,
      async stop() {
        await stop()
        close()
      },
    }
  } catch (error) {
    await system?.stop()
    close()
    throw error
  }
}
