/** Provides the initial rows of a run and the maximum duration of its plan. */
import { epochMs, type Server } from '@tenure/simulator'
import { keys, type Scenario } from './scenario.ts'

export const simulatedModel = 'm'

/** Returns the sum of all deadlines of the remaining releases, plus a minute. */
export function longestOf({ policy, releases }: Scenario): number {
  const stages = [policy.shadow, policy.targeted, ...policy.stages, policy.probation].reduce(
    (sum, stage) => sum + (stage?.deadlineMs ?? 0),
    0,
  )
  const steps = policy.stages.length + 3
  const one =
    policy.approval.withinMs + stages * 2 + steps * (policy.watch.decisionMs + policy.watch.acknowledgeMs)
  return one * releases.length + 60_000
}

/** Inserts the rows that exist before the first event. */
export function fill({ memory }: Server, { policy, hasChampion, releases }: Scenario): void {
  const at = epochMs - 1_000
  memory.load('models', simulatedModel, { name: simulatedModel, definition: { release: policy } })
  memory.load('routing_epochs', '1', { epoch: 1 })
  for (const { name, role, models } of keys)
    memory.load('api_keys', name, {
      id: name,
      name,
      role,
      models: models ?? null,
      revoked_at: null,
      expires_at: null,
      previous_until: null,
      requests_per_second: null,
      burst: null,
    })
  const first = 'm_v1.0.0'
  const version = (name: string, proven: boolean, baseline: string | null) => {
    const of = { model: simulatedModel, snapshot_digest: `rows-${name}` }
    const artifact_digest = `bytes-${name}`
    memory.load('validations', `val-${name}`, { ...of, id: `val-${name}`, verdict: 'pass' })
    memory.load('trainings', `train-${name}`, {
      ...of,
      id: `train-${name}`,
      status: 'done',
      artifact_digest,
    })
    memory.load('evaluations', `eval-${name}`, {
      ...of,
      id: `eval-${name}`,
      training_id: `train-${name}`,
      artifact_digest,
      verdict: 'better',
      report_digest: `report-${name}`,
      baseline_version: baseline,
    })
    const [major, minor, patch] = name
      .slice(name.indexOf('_v') + 2)
      .split('.')
      .map(Number)
    memory.load('versions', name, {
      version: name,
      model: simulatedModel,
      major,
      minor,
      patch,
      created_by: 'setup',
      created_at: at,
      artifact_digest,
      evaluation_id: `eval-${name}`,
      training_id: `train-${name}`,
      lineage: { snapshot: `rows-${name}`, validationId: `val-${name}` },
      drill: false,
      manifest: {},
      signature: null,
      known_good_at: proven ? at : null,
      rolled_back_at: null,
    })
  }
  version('m_v0.9.0', true, null)
  version(first, hasChampion, null)
  for (const each of releases) version(each.version, false, hasChampion ? first : null)
  if (!hasChampion) return
  memory.load('champion_history', '0', {
    id: 0,
    model: simulatedModel,
    version: first,
    previous_version: null,
    release_id: null,
    cause: 'promotion',
    actor: 'setup',
    reason: '',
    at,
  })
  memory.load('champions', simulatedModel, {
    model: simulatedModel,
    version: first,
    release_id: null,
    since: at,
  })
  const place = { epoch: 1, generation: 1 }
  memory.load('routing', simulatedModel, {
    model: simulatedModel,
    ...place,
    route: {
      model: simulatedModel,
      ...place,
      salt: 'first',
      arms: [{ arm: 'champion', version: first, shareBp: 10_000 }],
      proven: first,
    },
    exposed_until: null,
    updated_at: at,
  })
}
