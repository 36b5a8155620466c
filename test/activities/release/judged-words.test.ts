/**
 * Tests the cells of the table of what each stage judges each task by that read outcomes and answers: from rows in Postgres to the verdict,
 * for a candidate that is better than its champion and for one that is worse.
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { judgeLook, lookOf, lookRecord, type LookRecord } from '../../../domain/release/judge-stage.ts'
import { createObserver } from '../../../activities/release/observe.ts'
import { compileFormat } from '../../../api/serving/codec/output-format.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import type { CountedTick } from '../../../domain/release/evidence-builder.ts'
import { issuesOfPolicy, type ReleasePolicy } from '../../../domain/release/policy.ts'
import { openingState, type ReleaseState } from '../../../domain/release/state.ts'
import { judgedWords, type JudgedWord, type JudgedWordName } from '../../../domain/tasks/judged-words.ts'
import type { OutputKind } from '../../../domain/tasks/output.ts'
import { taskOf } from '../../../domain/tasks/tasks.ts'
import { insertPairs } from '../../../store/release/evidence.ts'
import type { Store } from '../../../store/postgres.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releaseFacts, releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'
import { answeringKinds, answeringModels, outputOf, skills } from '../../support/tasks/answering.ts'

const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-judged-'))
let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(async () => {
  await store?.close()
  rmSync(artifactRoot, { recursive: true })
})

const users = 400
const stage = { minMs: 1, minRequests: 1, deadlineMs: 86_400_000 }
const limits = {
  ...defaultCanaryPolicy,
  promotion: 'off',
  srm: 'off',
  scoreShift: 'off',
  disagreement: 'off',
} as const
const policyOf = (more: Partial<ReleasePolicy>): ReleasePolicy => ({
  ...releasePolicy,
  shadow: { ...stage, shareBp: 10_000 },
  stages: [{ ...stage, shareBp: 5_000 }],
  probation: { ...stage, holdbackBp: 5_000 },
  limits,
  ...more,
})
const abOf = (metric: string) => policyOf({ strategy: 'ab', ab: { metric, alpha: 0.05 } })

interface Case {
  at: 'shadow' | 'canary' | 'probation'
  policy: ReleasePolicy
  /** The verdict on a better candidate; on a worse one, the code of the first reason. */
  better: string
  worse: string
  /** Whether it reads the arms, and not the pairs of a shadow. */
  isOfArms?: boolean
}

/** Each word that reads outcomes or answers, with the stage and the policy that it decides in. */
const cases: Partial<Record<JudgedWordName, Case>> = {
  paired: { at: 'shadow', policy: policyOf({}), better: 'pass', worse: 'paired_quality' },
  nonInferiority: {
    at: 'canary',
    policy: policyOf({ limits: { ...limits, nonInferiority: { margin: 0.02, logE: Math.log(20) } } }),
    better: 'pass',
    worse: 'paired_quality',
  },
  disagreement: {
    at: 'shadow',
    policy: policyOf({ limits: { ...limits, disagreement: { max: 0.35, action: 'rollback' } } }),
    better: 'pass',
    worse: 'disagreement',
  },
  accuracy: { at: 'canary', policy: abOf('accuracy'), better: 'pass', worse: 'ab_worse', isOfArms: true },
  loss: { at: 'canary', policy: abOf('loss'), better: 'pass', worse: 'ab_worse', isOfArms: true },
  conversions: {
    at: 'canary',
    policy: abOf('conversions'),
    better: 'pass',
    worse: 'ab_worse',
    isOfArms: true,
  },
  holdback: {
    at: 'probation',
    policy: policyOf({}),
    better: 'pass',
    worse: 'holdback_quality',
    isOfArms: true,
  },
}
/** The words that read no answers, and those of the gate and of the monitor. */
const elsewhere: readonly JudgedWordName[] = [
  'metrics',
  'slices',
  'groups',
  'selectionRatio',
  'rateDifference',
  'errorDifference',
  'calibration',
  'baseline',
  'top',
  'rates',
  'scoreShift',
  'errors',
  'business',
  'external',
  'quality',
  'qualityMetrics',
]

interface Versions {
  model: string
  champion: string
  best: string
  worst: string
}

async function registered(kind: OutputKind): Promise<Versions> {
  const model = uniqueName('judged')
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  const [champion, best, worst] = [
    await registry.register(),
    await registry.register(),
    await registry.register(),
  ]
  const { profile } = answeringModels[kind]
  const manifest = {
    output: outputOf(kind),
    preprocessing: [],
    profile: { rows: 101, features: [], ...profile },
  }
  await store.query(
    sql`update versions set manifest = manifest || ${JSON.stringify(manifest)}::jsonb where model = ${model}`,
  )
  return { model, champion, best, worst }
}

interface Lived {
  model: string
  release: string
  baseline: string
  version: string
  skill: 'best' | 'worst'
}

const at = Array.from({ length: users }, (_, i) => i)
const newId = () => `${randomUUID().slice(0, -4)}0000`

/** Inserts the pairs of a shadow, whose outcomes have come. */
async function livedInShadow(kind: OutputKind, { model, release, baseline, version, skill }: Lived) {
  const { outcome, answer } = answeringModels[kind]
  const format = compileFormat(outputOf(kind))
  const pairs = at.map((i) => {
    const [own, before] = [skill, 'usual' as const].map((by) => Float32Array.from(answer(i, skills[by](i))))
    return {
      model,
      release,
      predictionId: newId(),
      servedVersion: baseline,
      shadowVersion: version,
      served: format.answer(before!, 0),
      shadow: format.answer(own!, 0),
      difference: format.difference(before!, own!, 0),
      entity: i,
    }
  })
  await insertPairs(store, pairs)
  await store.query(sql`update shadow_pairs set at = now() - interval '1 day' where release_id = ${release}`)
  const told = pairs.map(({ predictionId: id }, i) => ({ id, value: outcome(i) }))
  await store.query(sql`
    insert into outcomes (prediction_id, value, observed_at, arrived_at)
    select id, value, now() - interval '23 hours', now() - interval '23 hours'
    from jsonb_to_recordset(${JSON.stringify(told)}::jsonb) as r (id uuid, value jsonb)`)
}

/** Inserts the users of both arms, whose outcomes have come. An A/B by conversions compares what happened to the users of each arm. */
async function livedInArms(
  kind: OutputKind,
  { model, release, baseline, version, skill }: Lived,
  areConversions: boolean,
) {
  const { outcome, answer } = answeringModels[kind]
  const served = at.flatMap((i) =>
    [skill, 'usual' as const].map((by) => ({
      id: newId(),
      at: i,
      version: by === 'usual' ? baseline : version,
      outputs: answer(i, skills[by](i)),
      value: areConversions ? (i * 7) % 10 < { best: 7, usual: 5, worst: 3 }[by] : outcome(i),
    })),
  )
  await store.query(sql`
    with lived as (
      select *, now() - interval '1 day' + at * interval '1 minute' as asked
      from jsonb_to_recordset(${JSON.stringify(served)}::jsonb)
        as r (id uuid, at int, version text, outputs real[], value jsonb)
    ), told as (
      insert into outcomes (prediction_id, value, observed_at, arrived_at)
      select id, value, asked + interval '1 minute', asked + interval '1 minute' from lived
    )
    insert into predictions (id, at, model, version, arm, release_id, generation, instances, features, outputs, latency_us)
    select id, asked, ${model}, version, 'canary', ${release}, 4, 1, '', outputs, 1 from lived`)
}

describe.each(answeringKinds)('the outcomes of %s', (kind) => {
  let versions: Versions
  beforeAll(async () => {
    versions = await registered(kind)
  })
  const decided = Object.entries(cases).filter(
    ([word]) => 'by' in (judgedWords[word as JudgedWordName] as JudgedWord).of(taskOf(outputOf(kind))),
  )

  it.each(decided)(
    'decide by %s for a better candidate and against a worse one',
    async (name, { at, policy, better, worse, isOfArms }) => {
      const word = name as JudgedWordName
      const verdictOn = async (skill: 'best' | 'worst') => {
        const { model, champion: baseline, [skill]: version } = versions
        const id = `rel_${uniqueName(word)}`
        const lived = { model, release: id, baseline, version, skill }
        if (isOfArms) await livedInArms(kind, lived, word === 'conversions')
        else await livedInShadow(kind, lived)
        // Without it Postgres plans for the empty tables of the start.
        await store.query(sql`analyze outcomes, shadow_pairs, predictions`)
        const tick = {
          generation: 4,
          tickMs: 1_000,
          lengthMs: 10_000,
          requests: 1_000,
          errors: 0,
          invalid: 0,
          slow95: 0,
          slow99: 0,
        }
        const counted: CountedTick[] = [
          { ...tick, version, arm: at === 'shadow' ? 'shadow' : 'canary' },
          { ...tick, version: baseline, arm: 'control' },
        ]
        const state: ReleaseState = {
          ...openingState(
            { ...releaseFacts, id: id as ReleaseState['id'], model, version, baseline, policy },
            0,
          ),
          stage: at,
          shareBp: 5_000,
          promoted: at === 'probation',
          routings: [
            { generation: 4, stage: at, stageIndex: 0, shareBp: 5_000, startedMs: 0 },
          ] as unknown as ReleaseState['routings'],
        }
        expect(issuesOfPolicy(policy, outputOf(kind))).toEqual([])
        const seen = await createObserver({ store }, state)(true)
        const observation = { ...seen, counted, staleMs: 0, watchedMs: 86_400_000 }
        const look = { state, observation, behind: [] }
        const { verdict } = judgeLook(look)
        // As a certificate repeats it, from what is stored of the look.
        const stored = JSON.parse(JSON.stringify(lookRecord(look))) as LookRecord
        expect(judgeLook(lookOf(stored, policy)).verdict).toEqual(verdict)
        return verdict
      }
      const [forIt, against] = [await verdictOn('best'), await verdictOn('worst')]
      expect([forIt.kind, forIt.reasons.map(({ message }) => message)]).toEqual([better, expect.anything()])
      expect([against.kind, against.reasons.map(({ code }) => code)]).toEqual([
        'fail',
        expect.arrayContaining([worse]),
      ])
    },
  )
})

it('no word is left out', () => {
  expect([...Object.keys(cases), ...elsewhere].toSorted()).toEqual(Object.keys(judgedWords).toSorted())
})
