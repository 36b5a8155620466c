/** Tests releases that are refused, interrupted or superseded, and the rollback of a model outside a release. */
import { rmSync } from 'node:fs'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readCard } from '../../../api/services/model-card.ts'
import { getVersion } from '../../../store/registry/versions.ts'
import { costText } from '../../../domain/model/cost.ts'
import { defaultMonitorPolicy } from '../../../domain/monitoring/policy.ts'
import { getManifest, openArtifacts } from '../../../store/artifacts.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { listAudit, verifyAudit } from '../../../store/audit/audit-log.ts'
import { findChampion, listChampionHistory } from '../../../store/registry/champions.ts'
import { listCommands } from '../../../store/commands.ts'
import { findOpenRelease, findRelease } from '../../../store/release/releases.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { rollBackModel } from '../../support/commands/roll-back.ts'
import { putNetwork } from '../../support/release/candidates.ts'
import { ownServers } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type FixtureModel,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'
import { orderedStart } from '../../support/commands/signed.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})
const arms = async (fixtureModel: FixtureModel) =>
  (await findRouting(fixture.store, fixtureModel.name))!.route.arms
const rollBack = (fixtureModel: FixtureModel) => rollBackModel(fixture, fixtureModel.name)
/** Waits until the candidate serves requests. */
const serves = (fixtureModel: FixtureModel, version: string) =>
  expect.poll(async () => (await arms(fixtureModel)).map((arm) => arm.version)).toContain(version)
/** Registers a champion and a successor, both proven. */
async function twoChampions(): Promise<{ fixtureModel: FixtureModel; first: string; second: string }> {
  const fixtureModel = await fixture.model()
  const first = await fixtureModel.champion()
  const second = await fixtureModel.register(first)
  const release = await fixtureModel.start(second, { strategy: 'direct', probation: false })
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  return { fixtureModel, first, second }
}

describe('a release is refused', () => {
  it.each([
    [
      'for a version that does not exist',
      /has no version/,
      async (fixtureModel: FixtureModel) => `${fixtureModel.name}_v9.9.9`,
    ],
    [
      'for the champion',
      /was compared with|is already champion/,
      async (_: FixtureModel, first: string) => first,
    ],
    [
      'for a version compared with another champion',
      /was compared with no champion/,
      (fixtureModel: FixtureModel) => fixtureModel.register(),
    ],
  ])('%s', async (_name, reason, version) => {
    const fixtureModel = await fixture.model()
    const first = await fixtureModel.champion()
    const candidate = await version(fixtureModel, first)
    const release = await fixtureModel.start(candidate)
    expect(await release.result()).toMatchObject({
      outcome: 'failed',
      reason: expect.stringMatching(reason) as string,
    })
    expect(await findRelease(fixture.store, release.id)).toBeUndefined()
    expect(await findOpenRelease(fixture.store, fixtureModel.name)).toBeUndefined()
    // The user who started it does not wait for the workflow.
    const alerts = await listAlerts(fixture.store, { model: fixtureModel.name })
    expect(alerts).toMatchObject([
      { kind: 'release_failed', severity: 'warning', message: expect.stringMatching(reason) as string },
    ])
    // Its page would not exist.
    expect(alerts[0]!.evidence).toEqual({
      version: candidate,
      reason: expect.stringMatching(reason) as string,
    })
  })

  it('beside another release of the model, under any workflow id', async () => {
    const fixtureModel = await fixture.model()
    const first = await fixtureModel.champion()
    const [one, two] = [await fixtureModel.register(first), await fixtureModel.register(first)]
    const release = await fixtureModel.start(one)
    await release.reaches('awaiting_approval')
    const other = await fixture.client.workflow.execute('release', {
      workflowId: `by-hand/${fixtureModel.name}`,
      taskQueue: fixture.config.taskQueues.control,
      args: [
        await orderedStart(fixture, 'release', {
          model: fixtureModel.name,
          version: two,
          requestedBy: 'olga',
        }),
      ],
    })
    expect(other).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('has not ended') as string,
    })
    await expect(fixtureModel.start(two)).rejects.toThrow(/already started/)
    await release.say('reject', 'anna')
    expect(await release.result()).toMatchObject({ outcome: 'rejected' })
  })

  it('for an empty request', async () => {
    const run = fixture.client.workflow.execute('release', {
      workflowId: 'by-hand',
      taskQueue: fixture.config.taskQueues.control,
      args: [],
    })
    await expect(run).rejects.toMatchObject({
      cause: { type: 'invalid_request', message: expect.stringContaining('"order" must be') as string },
    })
  })

  it('with a policy that cannot be used, or without approval for a first version', async () => {
    const fixtureModel = await fixture.model()
    const version = await fixtureModel.register()
    const odd = await fixtureModel.start(version, {
      stages: [{ ...quickPolicy.stages[0]!, shareBp: 20_000 }],
    })
    expect((await odd.result()).reason).toMatch(/stages\[0\]\.shareBp/)
    const shapeless = await fixtureModel.start(version, { watch: null as never })
    expect((await shapeless.result()).reason).toMatch(/policy is malformed/)
    const careless = await fixtureModel.start(version, { approval: { approvers: 0, withinMs: 1_000 } })
    expect((await careless.result()).reason).toMatch(
      /approval.approvers is 0, the model file requires at least 1/,
    )
    const free = await fixture.model({ ...quickPolicy, approval: { approvers: 0, withinMs: 1_000 } })
    const unseen = await free.start(await free.register())
    expect((await unseen.result()).reason).toMatch(/first version of a model needs at least one approval/)
  })
})

describe('qualification', () => {
  it.each([
    [
      'an artifact whose golden rows it does not answer',
      /golden row 1/,
      { outputs: [[0.6224593312018546], [0.5]] },
    ],
    ['an artifact without golden rows', /no golden rows/, { instances: [], outputs: [] }],
  ])('refuses %s', async (_name, reason, golden) => {
    const fixtureModel = await fixture.model()
    const digest = await putNetwork(
      openArtifacts(fixture.config.artifactRoot),
      fixtureModel.name,
      [1, -1, 0.5],
      (manifest) => ({
        ...manifest,
        golden: { ...manifest.golden, ...golden },
      }),
    )
    const release = await fixtureModel.start(await fixtureModel.register(undefined, digest))
    expect(await release.result()).toMatchObject({
      outcome: 'failed',
      reason: expect.stringMatching(reason) as string,
    })
  })

  it('refuses an artifact of another model, and an artifact whose bytes are missing', async () => {
    const fixtureModel = await fixture.model()
    const foreign = await putNetwork(openArtifacts(fixture.config.artifactRoot), 'another')
    const first = await fixtureModel.start(await fixtureModel.register(undefined, foreign))
    expect((await first.result()).reason).toMatch(/artifact belongs to another/)
    const second = await fixtureModel.start(
      await fixtureModel.register(undefined, `sha256:${'0'.repeat(64)}`),
    )
    expect((await second.result()).reason).toMatch(/artifact_corrupt/)
  })
})

describe('the cost of a candidate beside the champion', () => {
  /** A network with two hidden layers of 512 units: some hundred times the work of the champion's. Its weights are 0. */
  async function putWide(model: string): Promise<string> {
    const artifacts = openArtifacts(fixture.config.artifactRoot)
    const units = [512, 512, 1]
    const layers = units.map((each, at) => ({
      class_name: 'Dense',
      config: {
        name: `dense${at}`,
        units: each,
        activation: 'sigmoid',
        use_bias: true,
        ...(at === 0 && { batch_input_shape: [null, 2] }),
      },
    }))
    const weights = units.flatMap((each, at) => [
      { name: `dense${at}/kernel`, shape: [at === 0 ? 2 : units[at - 1]!, each], dtype: 'float32' },
      { name: `dense${at}/bias`, shape: [each], dtype: 'float32' },
    ])
    const count = weights.reduce(
      (sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1),
      0,
    )
    const topology = {
      modelTopology: { class_name: 'Sequential', config: layers },
      weightsManifest: [{ paths: ['weights.bin'], weights }],
    }
    const files = {
      'model.json': await artifacts.put('artifacts', Buffer.from(JSON.stringify(topology))),
      'weights.bin': await artifacts.put('artifacts', Buffer.alloc(4 * count)),
    }
    return putNetwork(artifacts, model, [1, -1, 0.5], (manifest) => ({
      ...manifest,
      files,
      golden: { ...manifest.golden, outputs: manifest.golden.instances.map(() => [0.5]) },
    }))
  }

  it('refuses one that takes more than the model file allows, and shows both where it may', async () => {
    const fixtureModel = await fixture.model()
    const first = await fixtureModel.champion()
    const wide = await putWide(fixtureModel.name)
    const refused = await fixtureModel.start(await fixtureModel.register(first, wide), {
      qualification: { p99Times: 3 },
    })
    const { outcome, reason } = await refused.result()
    expect(outcome).toBe('failed')
    expect(reason).toMatch(/at the 99th percentile is [\d.,]+ times that of the champion, at most 3 times/)
    const { cost } = (await findRelease(fixture.store, refused.id))!.state
    expect(cost!.candidate.p50Us).toBeGreaterThan(3 * cost!.champion!.p50Us)
    const price = { processorHour: 0.04, gibHour: 0.005, unit: 'USD' }
    await fixture.store.query(sql`
      update models set definition = jsonb_set(definition, '{monitor}', ${JSON.stringify({ ...defaultMonitorPolicy, cost: price })})
      where name = ${fixtureModel.name}`)
    const version = await fixtureModel.register(first, wide)
    const usage = { cpuMs: 90_000, peakBytes: 2_147_483_648, ms: 60_000 }
    await fixture.store.query(sql`
      update trainings set usage = ${JSON.stringify(usage)}
      where id = (select training_id from versions where version = ${version})`)
    const allowed = await fixtureModel.start(version, { shadow: false })
    await allowed.reaches('awaiting_approval')
    const { state } = (await findRelease(fixture.store, allowed.id))!
    expect(Object.keys(state.cost!.champion!).sort()).toEqual([
      'cpuUs',
      'loadMs',
      'p50Us',
      'p99Us',
      'rssBytes',
    ])
    expect(state.cost).toMatchObject({ price, training: usage })
    expect(costText(state.cost!)).toMatch(
      / µs \(champion [\d.,]+ µs\) at the 99th percentile, [\d.,]+ ms \(champion [\d.,]+ ms\) of processor time for 1,000 predictions, \S+ USD \(champion \S+ USD\) for 1,000 predictions, \d+ MiB \(champion .* trained in 90 s of processor time with at most 2,?048 MiB for 0.00117 USD$/,
    )
    const { card } = await readCard(fixture.store, await getVersion(fixture.store, state.version))
    expect(card.cost).toEqual(state.cost)
    await allowed.say('abort', 'anna')
    await allowed.result()
  })

  it('is shown alone where the champion cannot be loaded', async () => {
    const fixtureModel = await fixture.model()
    const artifacts = openArtifacts(fixture.config.artifactRoot)
    const digest = await putNetwork(artifacts, fixtureModel.name, [0.125, -3, 7])
    const first = await fixtureModel.register(undefined, digest)
    const opening = await fixtureModel.start(first, { strategy: 'direct', probation: false })
    await opening.reaches('awaiting_approval')
    await opening.say('approve', 'anna')
    expect(await opening.result()).toMatchObject({ outcome: 'promoted' })
    const { files } = await getManifest(artifacts, digest)
    rmSync(await artifacts.locate('artifacts', files['weights.bin']!.digest))
    const release = await fixtureModel.start(await fixtureModel.register(first), {
      shadow: false,
      qualification: { p99Times: 1 },
    })
    await release.reaches('awaiting_approval')
    const { state } = (await findRelease(fixture.store, release.id))!
    expect(Object.keys(state.cost!)).toEqual(['candidate'])
    await release.say('abort', 'anna')
    await release.result()
  })
})

describe('a release workflow ended from outside', () => {
  it('cancelled mid-canary rolls the candidate back', async () => {
    const fixtureModel = await fixture.model()
    const first = await fixtureModel.champion()
    const release = await fixtureModel.start(await fixtureModel.register(first), { shadow: false })
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    await release.reaches('canary')
    await release.handle.cancel()
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
    expect(await arms(fixtureModel)).toEqual([{ arm: 'champion', version: first, shareBp: 10_000 }])
  })

  it('terminated mid-canary lets the exposure lapse, and the next release of the model cleans up', async () => {
    const fixtureModel = await fixture.model()
    const first = await fixtureModel.champion()
    const [lost, next] = [await fixtureModel.register(first), await fixtureModel.register(first)]
    const watch = { ...quickPolicy.watch, exposureMs: 400 }
    const release = await fixtureModel.start(lost, { shadow: false, watch })
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    await release.reaches('canary')
    await release.handle.terminate()
    const exposed = async () => ((await findRouting(fixture.store, fixtureModel.name))?.exposureMs ?? 0) > 0
    await expect.poll(exposed).toBe(false)
    const after = await fixtureModel.start(next)
    await after.reaches('awaiting_approval')
    expect(await findRelease(fixture.store, release.id)).toMatchObject({
      outcome: 'failed',
      reason: 'its workflow no longer runs: it was terminated, or a backup was restored',
    })
    expect(await arms(fixtureModel)).toEqual([{ arm: 'champion', version: first, shareBp: 10_000 }])
    await after.say('reject', 'anna')
    expect(await after.result()).toMatchObject({ outcome: 'rejected' })
  })
})

describe('the rollback of a model', () => {
  it('returns to the last proven version, which every live replica follows', async () => {
    const { fixtureModel, first, second } = await twoChampions()
    const outcome = await rollBack(fixtureModel)
    expect(outcome).toMatchObject({ outcome: 'rolled_back', from: second, to: first })
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: first })
    expect(await arms(fixtureModel)).toEqual([{ arm: 'champion', version: first, shareBp: 10_000 }])
    const [change] = await listChampionHistory(fixture.store, fixtureModel.name)
    expect(change).toMatchObject({
      cause: 'rollback',
      actor: 'olga',
      reason: 'callers complain',
      version: first,
    })
    // A second order at once means the same version.
    expect(await rollBack(fixtureModel)).toMatchObject({ from: second, to: first, repeated: true })
    // A version that was rolled back is not a target, and nothing precedes the first version.
    await fixture.store.query(
      sql`update champion_history set at = at - interval '10 minutes' where model = ${fixtureModel.name}`,
    )
    await expect(rollBack(fixtureModel)).rejects.toMatchObject({ code: 'no_rollback_target' })
    const audited = (await listAudit(fixture.store, { model: fixtureModel.name })).filter(
      ({ action }) => action === 'champion.rolled_back',
    )
    expect(audited).toHaveLength(1)
  })

  it('is refused for a model without a champion', async () => {
    await expect(rollBack(await fixture.model())).rejects.toMatchObject({ code: 'no_champion' })
  })

  it('rolls the candidate of an open release back, which ends by the command', async () => {
    const { fixtureModel, second } = await twoChampions()
    const candidate = await fixtureModel.register(second)
    const release = await fixtureModel.start(candidate, { shadow: false })
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    await serves(fixtureModel, candidate)
    expect(await rollBack(fixtureModel)).toMatchObject({ outcome: 'rolled_back', release: release.id })
    const [row] = await fixture.store.query<{ id: string }>(
      sql`select id from commands where release_id = ${release.id} and kind = 'rollback' and next_at is not null`,
    )
    await release.handle.signal('rollback', { command: row!.id })
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: 'rolled back by olga: callers complain',
    })
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: second })
    expect((await listCommands(fixture.store, release.id)).at(-1)).toMatchObject({
      command: 'rollback',
      accepted: true,
    })
  })

  it('takes the route from a release whose workflow has ended', async () => {
    const { fixtureModel, second } = await twoChampions()
    const candidate = await fixtureModel.register(second)
    const release = await fixtureModel.start(candidate, { shadow: false })
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    await serves(fixtureModel, candidate)
    await release.handle.terminate()
    expect(await rollBack(fixtureModel)).toMatchObject({
      outcome: 'rolled_back',
      from: candidate,
      to: second,
    })
    expect(await arms(fixtureModel)).toEqual([{ arm: 'champion', version: second, shareBp: 10_000 }])
    // The control workers close the row of a release without a workflow.
    expect(await findOpenRelease(fixture.store, fixtureModel.name)).toMatchObject({
      state: { id: release.id },
      rolledBackAt: expect.any(String) as string,
    })
  })
})

it('a release is found in Temporal by model, stage, version and outcome, and reports why it waits', async () => {
  const fixtureModel = await fixture.model()
  const first = await fixtureModel.champion()
  const release = await fixtureModel.start(await fixtureModel.register(first))
  await release.reaches('awaiting_approval')
  const attributes = async () => (await release.handle.describe()).searchAttributes
  await expect
    .poll(attributes)
    .toMatchObject({ Model: [fixtureModel.name], ReleaseStage: ['awaiting_approval'] })
  await release.say('reject', 'anna')
  await release.result()
  expect((await release.handle.describe()).searchAttributes).toMatchObject({ Outcome: ['rejected'] })
  expect(await verifyAudit(fixture.store)).not.toMatchObject({ breach: expect.anything() })
  expect(
    await fixture.store.query(sql`select model from champions group by model having count(*) > 1`),
  ).toEqual([])
})
