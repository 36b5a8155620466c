/** Tests what a release records when it opens: the champion's latency, and the delay of outcomes; and which run opens none. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compressedPolicy } from '../../../domain/release/derived-policy.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import { moveChampion } from '../../../store/registry/champions.ts'
import { writeTicks } from '../../../store/release/evidence.ts'
import { openAs, openOrdered } from '../../support/commands/open-ordered.ts'
import { orderedStart } from '../../support/commands/signed.ts'
import { numberProfile } from '../../../domain/model/reference-profile.ts'
import { findRelease } from '../../../store/release/releases.ts'
import sql from 'sql-template-tag'
import { releaseIdOf } from '../../../domain/release/state.ts'
import { insertQualityJudgement } from '../../../store/monitoring/monitor-windows.ts'
import { insertModel, insertPeople } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let deps: ActivityDeps
beforeAll(async () => {
  deps = await openActivityDeps()
  await insertPeople(deps.store, { olga: 'operator' })
})
afterAll(() => deps?.close())

it.each([
  ['as it was', { 4_000: 200, 9_000: 100 }, { p95: 9_000, p99: 9_000 }],
  ['at least the smallest noticeable latency', { 60: 299, 90: 1 }, { p95: 1_000, p99: 1_000 }],
  ['not at all from too few requests', { 4_000: 199 }, undefined],
])('an opened release stores its slow-response threshold %s', async (_name, latency, kept) => {
  const model = uniqueName('quick')
  const { store, config } = deps
  const registry = await insertModel(store, {
    model,
    policy: releasePolicy,
    artifactRoot: config.artifactRoot,
  })
  const version = await registry.register()
  await moveChampion(store, { model, to: version, cause: 'promotion', actor: 'anna', reason: 'the first' })
  const tick = {
    model,
    release: undefined,
    version,
    arm: 'champion',
    generation: 1,
    tickMs: Date.now() - 1_000,
    lengthMs: 100,
    requests: Object.values(latency).reduce((sum, count) => sum + count, 0),
    errors: 0,
    invalid: 0,
    slow95: 0,
    slow99: 0,
    latency,
  } as const
  await writeTicks(store, { replica: 'r1', ticks: [tick] })
  const opened = await openOrdered(deps, {
    model,
    version: await registry.register(version),
    requestedBy: 'olga',
    workflowId: `release/${model}`,
    runId: model,
  })
  expect('state' in opened ? opened.state.latencyUs : opened).toEqual(kept)
})

it('an opened release stores how long outcomes take, where its probation covers them', async () => {
  const { store, config } = deps
  const labelsOf = async (coverLabels: boolean) => {
    const model = uniqueName('late')
    const policy = { ...releasePolicy, probation: { ...releasePolicy.probation!, coverLabels } }
    const registry = await insertModel(store, { model, policy, artifactRoot: config.artifactRoot })
    const version = await registry.register()
    await moveChampion(store, { model, to: version, cause: 'promotion', actor: 'anna', reason: 'the first' })
    for (const [from, horizonMs] of [
      [0, 1],
      [1, 864_000_000],
    ] as const)
      await insertQualityJudgement(store, {
        model,
        version,
        fromMs: from * 86_400_000,
        toMs: (from + 1) * 86_400_000,
        report: { level: 'held', judge: 'quality@1' } as never,
        inputs: { maturity: { status: 'ok', horizonMs, delays: 200 }, predictions: 9, labels: 9 },
        policy: {} as never,
      })
    const candidate = await registry.register(version)
    const opening = { model, version: candidate, requestedBy: 'olga' } as const
    const more = { workflowId: `release/${model}`, runId: model }
    const opened = await openOrdered(deps, { ...opening, ...more })
    return 'state' in opened ? opened.state.labelsMs : opened
  }
  expect(await labelsOf(true)).toBe(864_000_000 + 86_400_000)
  expect(await labelsOf(false)).toBeUndefined()
})

it.each([
  [
    'with the range of its answers',
    { profile: { rows: 101, features: [], score: numberProfile('score', [1, 2, 3]) } },
    true,
  ],
  ['made elsewhere, with limits of its label', { output: { kind: 'number', min: 0, max: 9 } }, true],
  ['made elsewhere', {}, false],
])(
  'a release with a proof on the losses of numbers opens against a champion %s, where they can be compared',
  async (_of, given, isOpened) => {
    const { store, config } = deps
    const model = uniqueName('numbers')
    const limits = { ...releasePolicy.limits, nonInferiority: { margin: 0.02, logE: 3 } }
    const policy = { ...releasePolicy, limits }
    const registry = await insertModel(store, { model, policy, artifactRoot: config.artifactRoot })
    const champion = await registry.register()
    await moveChampion(store, { model, to: champion, cause: 'promotion', actor: 'anna', reason: 'the first' })
    const version = await registry.register(champion)
    const manifest = { output: { kind: 'number' }, ...given }
    await store.query(sql`
    update versions set manifest = manifest || ${JSON.stringify(manifest)}::jsonb where model = ${model}`)
    const opened = await openOrdered(deps, {
      model,
      version,
      requestedBy: 'olga',
      workflowId: `release/${model}`,
      runId: model,
    })
    expect('state' in opened ? 'opened' : opened.refused).toMatch(
      isOpened
        ? /^opened$/
        : /the range of the champion's answers is not known.* set min and max of the label/,
    )
  },
)

it('a run that is continued opens nothing, because what its release came to is lost with the row', async () => {
  const { store, config } = deps
  const model = uniqueName('continued')
  const registry = await insertModel(store, {
    model,
    policy: releasePolicy,
    artifactRoot: config.artifactRoot,
  })
  const start = await orderedStart(deps, 'release', {
    model,
    version: await registry.register(),
    requestedBy: 'olga',
  })
  const id = releaseIdOf(`first-${model}`)
  const run = { workflowId: `release/${model}`, runId: `second-${model}` }
  expect(await openAs(deps, run, { ...start, id })).toMatchObject({
    refused: 'its row is gone: an older backup was restored',
  })
  expect(await findRelease(store, id)).toBeUndefined()
  const [alert] = await store.query<{ message: string }>(
    sql`select message from alerts where model = ${model}`,
  )
  expect(alert?.message).toContain('an older backup was restored')
})

describe('a compressed version', () => {
  /** Opens a release of a version that was compressed from the champion, or from another version. */
  async function openCompressed(
    output: Output,
    { isOther = false, policy }: { isOther?: boolean; policy?: ReleasePolicy } = {},
  ) {
    const model = uniqueName('small')
    const { store, config } = deps
    const registry = await insertModel(store, {
      model,
      policy: releasePolicy,
      artifactRoot: config.artifactRoot,
    })
    const [other, champion] = [await registry.register(), await registry.register()]
    await moveChampion(store, { model, to: champion, cause: 'promotion', actor: 'anna', reason: 'the first' })
    const version = await registry.register(champion)
    const lineage = { compression: { version: isOther ? other : champion } }
    const report = { compression: { fidelity: { policy: { epsilon: 0.003, flips: 0.01 } } } }
    await store.query(sql`
      update versions set lineage = lineage || ${JSON.stringify(lineage)}, manifest = manifest || ${JSON.stringify({ output })}
      where version = ${version}`)
    await store.query(sql`
      update evaluations set report = ${JSON.stringify(report)} where id = ${`e-${version}`}`)
    const named = { workflowId: `release/${model}`, runId: model }
    await openOrdered(deps, { model, version, requestedBy: 'olga', policy, ...named })
    return (await findRelease(store, releaseIdOf(model)))!.state.policy
  }
  const yesNo: Output = { kind: 'probability', positive: 'yes', threshold: 0.5 }

  it.each<[string, Output, number]>([
    ['decisions', yesNo, 0.01],
    ['numbers', { kind: 'number' }, 0.003],
  ])(
    'of the champion is rolled back when its %s differ by more than its gate allows',
    async (_name, output, max) => {
      const policy = await openCompressed(output)
      expect(policy).toEqual(compressedPolicy(releasePolicy, max))
      expect(policy.stages).toEqual([releasePolicy.stages[1]])
    },
  )

  it('of another version is compared with the champion as any candidate', async () => {
    const policy = await openCompressed(yesNo, { isOther: true })
    expect(policy).toEqual(compressedPolicy(releasePolicy))
  })

  it('is released by the policy of a request that has one', async () => {
    const policy = { ...releasePolicy, approval: { approvers: 3, withinMs: 5_000 } }
    expect(await openCompressed(yesNo, { policy })).toEqual(policy)
  })
})
