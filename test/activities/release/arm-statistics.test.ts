/**
 * Tests that the sums by which two arms are judged equal those of all rows, for every task and metric: with outcomes that are late, missing
 * and corrected, with users who come again, and beside requests that do not count. The rows are compared in the plainest way.
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seededRandom } from '@tenure/sequential'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createObserver } from '../../../activities/release/observe.ts'
import type { AbMetric } from '../../../domain/canary/ab-test.ts'
import { blocksOf, lossOf, scoredAlike } from '../../../domain/canary/holdback.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import type { Observation } from '../../../domain/release/evidence-builder.ts'
import { openingState, type ReleaseState } from '../../../domain/release/state.ts'
import { judgedWords } from '../../../domain/tasks/judged-words.ts'
import type { OutcomeValue, OutputKind } from '../../../domain/tasks/output.ts'
import { judgedLossOf } from '../../../domain/tasks/losses.ts'
import { decisionOf, taskOf } from '../../../domain/tasks/tasks.ts'
import { truthOf } from '../../../domain/model/outcome.ts'
import { readNow } from '../../../store/database/clock.ts'
import type { Store } from '../../../store/postgres.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { maturedAnswers, type AnsweredUser } from '../../support/release/matured-answers.ts'
import { releaseFacts, releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'
import { answeringKinds, answeringModels, outputOf } from '../../support/tasks/answering.ts'

const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-arms-'))
let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(async () => {
  await store?.close()
  rmSync(artifactRoot, { recursive: true })
})

const hourMs = 3_600_000
const requests = 900
/** A period of twelve hours: the reader takes a hundredth of the deadline. */
const spanMs = 12 * hourMs
const stage = { minMs: 1, minRequests: 1, deadlineMs: 100 * spanMs }
const candidateBp = 8_000

interface Told {
  value: OutcomeValue
  observedMs: number
  arrivedMs: number
  revision: number
}

interface Served {
  id: string
  atMs: number
  version: string
  user: string | null
  outputs: number[]
  arm: string
  release: string
  told: Told[]
}

/** Draws requests an hour apart, whose outcomes take some whole hours, so that no limit of time falls on one of them. */
function drawn(
  kind: OutputKind,
  seed: number,
  nowMs: number,
  of: { release: string; versions: string[] },
): Served[] {
  const uniform = seededRandom(seed)
  const pick = <T>(of: readonly T[]): T => of[Math.floor(uniform() * of.length)]!
  const { outcome, answer } = answeringModels[kind]
  const fromMs = nowMs - (requests + 0.5) * hourMs
  return Array.from({ length: requests }, (_, i) => {
    const atMs = fromMs + i * hourMs
    const isCandidate = uniform() < candidateBp / 10_000
    const revisions = pick([0, 1, 1, 1, 1, 1, 1, 1, 2, 3])
    const told = Array.from({ length: revisions }, (_, k): Told => {
      const observedMs = atMs + pick([1, 2, 3, 20, 90]) * hourMs
      return {
        value: outcome(k === 0 ? i : Math.floor(uniform() * 100)),
        observedMs,
        arrivedMs: observedMs + pick([0, 1, 30]) * hourMs,
        revision: k + 1,
      }
    })
    return {
      id: `${randomUUID().slice(0, -4)}0000`,
      atMs,
      version: of.versions[isCandidate ? 0 : 1]!,
      user: pick([null, `user ${i}`, `user ${Math.floor(uniform() * i)}`]),
      outputs: answer(i, uniform() < 0.7),
      arm: uniform() < 0.05 ? 'targeted' : 'canary',
      release: uniform() < 0.05 ? `${of.release} of old` : of.release,
      told: told.filter(({ arrivedMs }) => arrivedMs <= nowMs),
    }
  })
}

async function insert(model: string, served: readonly Served[]) {
  const told = served.flatMap(({ id, told: all }) => all.map((each) => ({ id, ...each })))
  await store.query(sql`
    insert into outcomes (prediction_id, value, observed_at, arrived_at, revision)
    select id, value, to_timestamp("observedMs" / 1000), to_timestamp("arrivedMs" / 1000), revision
    from jsonb_to_recordset(${JSON.stringify(told)}::jsonb)
      as r (id uuid, value jsonb, "observedMs" float8, "arrivedMs" float8, revision int)`)
  await store.query(sql`
    insert into predictions
      (id, at, model, version, arm, release_id, generation, routing_key, instances, features, outputs, latency_us)
    select id, to_timestamp("atMs" / 1000), ${model}, version, arm, release, 4, "user", 1, '', outputs, 1
    from jsonb_to_recordset(${JSON.stringify(served)}::jsonb)
      as r (id uuid, "atMs" float8, version text, arm text, release text, "user" text, outputs real[])`)
  await store.query(sql`analyze outcomes, predictions`)
}

/** The first request of each user to each version, with its newest outcome. */
function firstsOf(
  served: readonly Served[],
  { release, version }: { release: string; version: string },
): AnsweredUser[] {
  const seen = new Set<string>()
  return served.flatMap((each): AnsweredUser[] => {
    if (each.release !== release || each.arm === 'targeted') return []
    const key = `${each.version} ${each.user ?? each.id}`
    if (seen.has(key)) return []
    seen.add(key)
    const newest = each.told.toSorted((a, b) => b.observedMs - a.observedMs || b.revision - a.revision)[0]
    const arrivals = each.told.map(({ arrivedMs }) => arrivedMs)
    return [
      {
        arm: each.version === version ? 'canary' : 'control',
        atMs: each.atMs,
        outputs: [...Float32Array.from(each.outputs)],
        value: newest?.value ?? null,
        arrivedMs: arrivals.length === 0 ? null : Math.min(...arrivals),
      },
    ]
  })
}

type Sums = Pick<Observation, 'cohorts' | 'losses' | 'holdback' | 'coverage'>

/** The losses of all rows at once, and of blocks of them. */
function lossesOfRows(
  kind: OutputKind,
  { matured }: { matured: readonly AnsweredUser[] },
  manifest: Manifest,
) {
  const by = scoredAlike(outputOf(kind), manifest)!
  const judged = judgedLossOf(outputOf(kind))
  const blocks = blocksOf(candidateBp)
  const of = (arm: 'canary' | 'control') =>
    matured.flatMap((each) => {
      const loss =
        each.arm !== arm || each.value === null
          ? null
          : lossOf(judged, by[arm], { outputs: each.outputs, value: each.value })
      return loss === null ? [] : [loss]
    })
  const total = (losses: number[]) => losses.reduce((sum, loss) => sum + loss, 0)
  const means = (arm: 'canary' | 'control') =>
    of(arm).flatMap((_, i, all) =>
      (i + 1) % blocks[arm] === 0 ? [total(all.slice(i + 1 - blocks[arm], i + 1)) / blocks[arm]] : [],
    )
  const [canary, control] = [means('canary'), means('control')]
  const pairs = Math.min(canary.length, control.length)
  const differences = canary.slice(0, pairs).map((mean, i) => mean - control[i]!)
  const arm = (losses: number[]) => ({ total: losses.length, loss: total(losses) })
  return {
    candidate: arm(of('canary')),
    control: arm(of('control')),
    blocks: pairs,
    difference: total(differences),
  }
}

const shapeOf = (losses: Sums['losses']) =>
  losses && {
    candidate: losses.candidate,
    control: losses.control,
    blocks: losses.differences.reduce((sum, n) => sum + n, 0),
    difference: losses.differences.reduce((sum, n, i) => sum + n * (i / 200 - 1), 0),
  }

function cohortsOfRows(
  kind: OutputKind,
  { maturedMs, matured }: { maturedMs: number; matured: readonly AnsweredUser[] },
  metric: 'accuracy' | 'conversions',
) {
  const output = outputOf(kind)
  const spanOf = ({ atMs }: AnsweredUser) => Math.floor(atMs / spanMs) * spanMs
  return [...new Set(matured.map(spanOf))]
    .filter((fromMs) => fromMs + spanMs <= maturedMs)
    .flatMap((atMs) => {
      const users = matured.filter((each) => spanOf(each) === atMs)
      const known = users.flatMap(({ arm, outputs, value }) => {
        const truth = value === null ? undefined : truthOf(value, output)?.[0]
        if (truth === undefined) return []
        return [
          { arm, event: metric === 'conversions' ? truth === 1 : decisionOf(output, outputs) !== truth },
        ]
      })
      const of = (arm: 'canary' | 'control') => {
        const all = known.filter((each) => each.arm === arm)
        return { total: all.length, events: all.filter(({ event }) => event).length }
      }
      return known.length < 0.8 * users.length ? [] : [{ atMs, canary: of('canary'), control: of('control') }]
    })
    .toSorted((a, b) => a.atMs - b.atMs)
}

const close = (value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value)
    ? // Stored answers have 32 bits.
      expect.closeTo(value, 5)
    : typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).map(([name, each]) => [name, close(each)]))
      : value

it.each(answeringKinds.flatMap((kind) => [1, 2, 3].map((seed) => [kind, seed] as const)))(
  'the sums of both arms equal those of their rows: %s, seed %i',
  async (kind, seed) => {
    const model = uniqueName('arms')
    const { register } = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
    const [baseline, version] = [await register(), await register()]
    const manifest = {
      output: outputOf(kind),
      preprocessing: [],
      profile: { rows: 101, features: [], ...answeringModels[kind].profile },
    } as unknown as Manifest
    await store.query(
      sql`update versions set manifest = manifest || ${JSON.stringify(manifest)}::jsonb where model = ${model}`,
    )
    const release = `rel_${model}` as ReleaseState['id']
    const served = drawn(kind, seed, await readNow(store), { release, versions: [version, baseline] })
    await insert(model, served)
    const users = firstsOf(served, { release, version })

    const task = taskOf(outputOf(kind))
    const metrics = (['accuracy', 'loss', 'conversions'] as const).filter(
      (metric) => 'by' in judgedWords[metric].of(task),
    )
    const read = async (metric: AbMetric | 'holdback'): Promise<Sums> => {
      const isHoldback = metric === 'holdback'
      const policy = {
        ...releasePolicy,
        shadow: undefined,
        stages: [{ ...stage, shareBp: candidateBp }],
        probation: { ...stage, holdbackBp: 10_000 - candidateBp },
        ...(!isHoldback && { ab: { metric, alpha: 0.05 } }),
      }
      const at = isHoldback ? 'probation' : 'canary'
      const state = {
        ...openingState({ ...releaseFacts, id: release, model, version, baseline, policy } as never, 0),
        ...(!isHoldback && { strategy: 'ab' }),
        stage: at,
        routings: [{ generation: 4, stage: at, stageIndex: 0, shareBp: candidateBp, startedMs: 0 }],
      } as unknown as ReleaseState
      const { cohorts, losses, holdback, coverage } = await createObserver({ store }, state)(true)
      return { cohorts, losses, holdback, coverage }
    }
    const sums = Object.fromEntries(
      await Promise.all(
        [...metrics, 'holdback' as const].map(async (metric) => [metric, await read(metric)]),
      ),
    ) as Record<string, Sums>
    const matured = maturedAnswers(users, await readNow(store))!
    expect(matured.matured.length).toBeLessThan(users.length)
    const losses = close(lossesOfRows(kind, matured, manifest))
    expect(shapeOf(sums['holdback']!.holdback)).toEqual(losses)
    expect(shapeOf(sums['loss']!.losses)).toEqual(losses)
    const armOf = (arm: 'canary' | 'control') => {
      const own = matured.matured.filter((each) => each.arm === arm)
      return { answers: own.length, outcomes: own.filter(({ value }) => value !== null).length }
    }
    const coverage = expect.objectContaining({ canary: armOf('canary'), control: armOf('control') })
    expect(sums['holdback']!.coverage).toEqual({ holdback: coverage })
    expect(sums['loss']!.coverage).toEqual({ losses: coverage })
    for (const metric of ['accuracy', 'conversions'] as const) {
      if (!metrics.includes(metric)) continue
      const cohorts = cohortsOfRows(kind, matured, metric)
      expect(cohorts.length).toBeGreaterThan(10)
      expect(sums[metric]!.cohorts).toEqual(cohorts)
      expect(sums[metric]!.coverage).toEqual({ cohorts: coverage })
    }
  },
)
