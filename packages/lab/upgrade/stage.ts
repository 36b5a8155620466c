/** Starts the system of an older build by that build's own code, and replaces its processes by those of this build one at a time. */
import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ChildSpec } from '../../../cli/supervisor/supervisor.ts'
import { untilOk } from '../../../cli/supervisor/rolling-restart.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import type * as apiKeys from '../../../store/access/api-keys.ts'
import type * as artifactStore from '../../../store/artifacts.ts'
import { checkout, launcher, systemEnvironment } from '../../../temporal.config.ts'
import type * as candidates from '../../../test/support/release/candidates.ts'
import type * as systems from '../../../test/support/servers/system-fixture.ts'
import { sayTo } from '../../../test/support/fleet/fleet-stage.ts'
import type { FormerBuild } from './former.ts'

const run = promisify(execFile)

export const upgradedModel = 'pulse'
/** The production value. */
const leaseMs = 5_000

export interface UpgradeStage {
  system: systems.RealSystem
  /** The names of the processes, in the order in which they are replaced. */
  order: string[]
  /** Build → process ids of the workers that run it. */
  workers: Map<number, 'former' | 'present'>
  /** Registers the next version: one like the champion, or one that answers every row with "no". */
  register(against: string | undefined, kind: 'good' | 'bad'): Promise<string>
  /** Acts as a user of that role, only through the API. */
  say<T>(role: 'operator' | 'approver', method: string, path: string, body?: object): Promise<T>
  /** Runs the command of this build on the system, as its administrator does. */
  command(...args: string[]): Promise<string>
  /** Replaces a process by this build's; resolves when it serves. */
  replace(name: string): Promise<void>
  stop(): Promise<void>
}

export async function openUpgradeStage(former: FormerBuild, policy: ReleasePolicy): Promise<UpgradeStage> {
  const { startRealSystem } = await former.load<typeof systems>('test/support/servers/system-fixture.ts')
  const { insertModel, putNetwork } = await former.load<typeof candidates>(
    'test/support/release/candidates.ts',
  )
  const { insertKey } = await former.load<typeof apiKeys>('store/access/api-keys.ts')
  const { openArtifacts } = await former.load<typeof artifactStore>('store/artifacts.ts')
  const specs = new Map<string, ChildSpec>()
  let ownerDatabaseUrl = ''
  const system = await startRealSystem({
    replicas: 2,
    workers: 2,
    trains: true,
    leaseMs,
    changes: async (core) => {
      ownerDatabaseUrl = core.ownerDatabaseUrl!
      return (spec) => {
        const own = { ...spec, env: { ...spec.env, TENURE_BUILD_ID: former.commit } }
        specs.set(spec.name, own)
        return own
      }
    },
  })
  const { store, config, supervision, urls } = system
  const workers: UpgradeStage['workers'] = new Map()
  for (const name of ['control', 'control-2', 'train']) workers.set(supervision.pidOf(name)!, 'former')
  const registry = await insertModel(store, {
    model: upgradedModel,
    policy,
    artifactRoot: config.artifactRoot,
  })
  const keys = {
    operator: (await insertKey(store, { name: 'olga', role: 'operator' })).key,
    approver: (await insertKey(store, { name: 'anna', role: 'approver' })).key,
  }
  const project = join(config.stateDir, 'project')
  mkdirSync(join(project, 'models'), { recursive: true })
  return {
    system,
    order: ['control', 'api', 'control-2', 'api-2', 'train'],
    workers,
    async register(against, kind) {
      if (kind === 'good') return registry.register(against)
      const artifacts = openArtifacts(config.artifactRoot)
      return registry.register(against, await putNetwork(artifacts, upgradedModel, [1, -1, -200]))
    },
    say: (role, method, path, body) => sayTo(system.sharedUrl, keys[role])(method, path, body),
    async command(...args) {
      const { stdout } = await run(process.execPath, [join(checkout, 'cli/tenure.mjs'), ...args], {
        cwd: project,
        env: {
          ...systemEnvironment(),
          TENURE_STATE: config.stateDir,
          DATABASE_URL: config.databaseUrl,
          TENURE_OWNER_DATABASE_URL: ownerDatabaseUrl,
          TEMPORAL_ADDRESS: config.temporal.address,
        },
        maxBuffer: 1 << 24,
      })
      return stdout
    },
    async replace(name) {
      const spec = specs.get(name)!
      const replica = urls[['api', 'api-2'].indexOf(name)]
      const args =
        replica === undefined
          ? [launcher, 'activities/worker.ts', name === 'train' ? 'train' : 'control']
          : ['--max-semi-space-size=2', 'api/start.mjs']
      Object.assign(spec, { args, cwd: checkout, env: { ...spec.env, TENURE_BUILD_ID: 'present' } })
      await supervision.restart(name)
      if (replica === undefined) workers.set(supervision.pidOf(name)!, 'present')
      else await untilOk(`${replica}/readyz`)
    },
    stop: system.stop,
  }
}
