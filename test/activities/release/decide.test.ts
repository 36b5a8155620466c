/**
 * Tests that the same counts give the same decision for every watcher, from every tick, across a change of stage. When a worker crashes
 * between two ticks, its successor reads its state from Postgres.
 */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { recordDecision } from '../../../activities/release/decide.ts'
import { createObserver } from '../../../activities/release/observe.ts'
import { canaryJudge, incrementalJudge } from '../../../domain/canary/incremental-judge.ts'
import { withoutEvidence } from '../../../domain/release/explain.ts'
import { judge } from '../../../domain/release/judge-stage.ts'
import { canaryEvidenceOf } from '../../../domain/release/evidence-builder.ts'
import { seededRandom } from '@tenure/sequential'
import type { ReleaseState } from '../../../domain/release/state.ts'
import type { Verdict } from '../../../domain/verdict.ts'
import { writeTicks, type TickCounts } from '../../../store/release/evidence.ts'
import { listDecisions } from '../../../store/release/decisions.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { routedCanary, releasePolicy, second } from '../../support/release/releases.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let deps: ActivityDeps
beforeAll(async () => {
  deps = await openActivityDeps()
})
afterAll(() => deps?.close())

const tickMs = releasePolicy.watch.tickMs
/** The tick in which the second stage begins. */
const turn = 40
const ticks = 80
let first: ReleaseState
let last: ReleaseState
let [version, baseline] = ['', '']
beforeEach(async () => {
  const model = uniqueName('model')
  const registry = await insertModel(deps.store, {
    model,
    policy: releasePolicy,
    artifactRoot: deps.config.artifactRoot,
  })
  baseline = await registry.register()
  version = await registry.register(baseline)
  const of = (state: ReleaseState): ReleaseState => {
    const routings = state.routings.map((each, index) => ({
      ...each,
      generation: index,
      startedMs: index === state.routings.length - 1 && state === second ? turn * tickMs : 0,
    }))
    return { ...state, id: `rel_${model}`, model, version, baseline, routings }
  }
  first = of(routedCanary)
  last = of(second)
  await deps.store.query(sql`
    insert into releases (id, model, version, strategy, policy, policy_digest, evaluation_digest, artifact_digest,
      requested_by, workflow_id, run_id, stage, state)
    values (${first.id}, ${model}, ${version}, 'canary', '{}', 'p', 'e', 'a', 'olga', 'w', 'r', 'canary', '{}')`)
})

/** Returns the counts of both arms in a tick; from the sixtieth on the canary fails more often. */
function countsOf(state: ReleaseState, at: number, chance: () => number): TickCounts[] {
  const draw = (requests: number, rate: number) =>
    Array.from({ length: requests }).filter(() => chance() < rate).length
  const common = {
    model: state.model,
    release: state.id,
    generation: state.routings.length - 1,
    tickMs: at * tickMs,
    lengthMs: tickMs,
    invalid: 0,
    slow99: 0,
    latency: {},
  }
  const arms = [
    { arm: 'canary' as const, version, requests: 20, rate: at < 60 ? 0.01 : 0.08 },
    { arm: 'champion' as const, version: baseline, requests: 60, rate: 0.01 },
  ]
  return arms.map(({ rate, ...arm }) => ({
    ...common,
    ...arm,
    errors: draw(arm.requests, rate),
    slow95: draw(arm.requests, 0.05),
  }))
}

/** The judge words a rate with all of its counts, the decision with those of its stage. */
const unworded = ({ reasons, ...verdict }: Verdict) => ({
  ...verdict,
  reasons: reasons.map(({ code, values }) => ({ code, values })),
})

it('a new worker, the old worker and the fold agree after every tick, across a change of stage', async () => {
  const chance = seededRandom(3)
  const old = { first: createObserver(deps, first), last: createObserver(deps, last) }
  const fold = incrementalJudge(releasePolicy.limits)
  const kinds = new Set<string>()
  for (let at = 0; at < ticks; at++) {
    const name = at < turn ? 'first' : 'last'
    const state = at < turn ? first : last
    await writeTicks(deps.store, { replica: 'r1', ticks: countsOf(state, at, chance) })
    const watched = { watchedMs: (at + 1) * tickMs, staleMs: 100 }
    const seen = { ...(await old[name]()), ...watched }
    // The workflow's history stores the state as JSON.
    const replayed = JSON.parse(JSON.stringify(state)) as ReleaseState
    const read = { ...(await createObserver(deps, replayed)()), ...watched }
    const verdict = judge(state, seen)
    expect(judge(replayed, read)).toEqual(verdict)
    const { ticks: all, ...evidence } = canaryEvidenceOf(state, seen)
    fold.add(all.at(-1)!)
    expect(unworded(fold.judge(evidence))).toEqual(unworded(verdict.verdict))
    kinds.add(verdict.verdict.kind)
  }
  // It changed from too little evidence to a verdict, so the comparison was not of one constant.
  expect(kinds).toContain('inconclusive')
  expect(kinds).toContain('fail')
})

it('a rollback has the figure of its own stage, in its reason and in its verdict, whose values have all counts', () => {
  const current = last.routings.length - 1
  const row = (tick: number, by: string | undefined, generation: number, failures = {}) => ({
    version: by ?? '',
    generation,
    tickMs: tick * tickMs,
    lengthMs: tickMs,
    requests: 100,
    errors: 0,
    invalid: 0,
    slow95: 0,
    slow99: 0,
    ...failures,
  })
  const judged = (failures: { errors?: number; invalid?: number; slow95?: number }, state = last) => {
    const counted = [...Array(turn + 1).keys()].flatMap((tick) => [
      row(tick, version, current - 1),
      row(tick, baseline, current - 1),
    ])
    // The route of the stage arrives in the middle of a tick that began before the stage.
    for (const tick of [turn - 1, turn])
      counted.push(row(tick, version, current, failures), row(tick, baseline, current))
    return judge(state, { counted, staleMs: 100, watchedMs: 1_000 })
  }
  const { verdict, reason } = judged({ invalid: 30 })
  expect(verdict.kind).toBe('fail')
  const figure = '60 of 200 canary requests invalid (30 %), control 0 %'
  expect(reason).toBe(figure)
  const rates = verdict.reasons.filter(({ code }) => code === 'guard' || code === 'invalid_rate')
  expect(rates.map(({ message }) => withoutEvidence(message))).toEqual([figure, figure])
  expect(rates[0]!.values).toMatchObject({ bad: 30, requests: 4_100 })
  expect(rates[0]!.message).toMatch(/: logE \S+ ≥ \S+ from 30 of 4,100 since the release began$/)
  expect(judged({ errors: 20, invalid: 10 }).reason).toBe(
    '60 of 200 canary requests failed (30 %), control 0 %',
  )
  expect(judged({ slow95: 60 }).reason).toBe(
    "120 of 200 canary requests slower than the champion's p95 (60 %), control 0 %",
  )
  const promoted = { ...last, stage: 'probation' as const, promoted: true }
  expect(judged({ invalid: 30 }, promoted).reason).toMatch(
    /^60 of 200 requests of the new champion invalid \(30 %\)/,
  )
})

it('a decision repeated on the same counts is the same row', async () => {
  const chance = seededRandom(4)
  for (let at = 0; at < ticks; at++)
    await writeTicks(deps.store, {
      replica: 'r1',
      ticks: countsOf(at < turn ? first : last, at, chance),
    })
  for (let worker = 0; worker < 2; worker++) {
    const observation = { ...(await createObserver(deps, last)()), staleMs: 100, watchedMs: 1_000 }
    await recordDecision(deps, last, judge(last, observation))
  }
  const [a, b] = (await listDecisions(deps.store, last.id)).map(({ id: _id, at: _at, ...row }) => row)
  expect(a).toEqual(b)
  expect(a).toMatchObject({
    verdict: { kind: 'fail', judge: canaryJudge },
    inputs: { canary: { requests: 1_600 }, control: { requests: 4_800 } },
  })
})
