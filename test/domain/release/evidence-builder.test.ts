/** Tests the input of the judge: separated by version, in time order, with a clock that gaps do not shorten. */
import { describe, expect, it } from 'vitest'
import { judgeCanary } from '../../../domain/canary/incremental-judge.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import { canaryTicks, canaryEvidenceOf, type CountedTick } from '../../../domain/release/evidence-builder.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'
import {
  routedCanary,
  judgedEvent,
  probated,
  stepEvents,
  advanceAll,
  second,
  routedShadow,
  undecided,
} from '../../support/release/releases.ts'

const row = (
  tickMs: number,
  version: string,
  generation: number,
  requests: number,
  invalid = 0,
): CountedTick => ({
  version,
  generation,
  tickMs,
  lengthMs: 10,
  requests,
  errors: 0,
  invalid,
  slow95: 0,
  slow99: 0,
})
const [candidate, baseline] = ['m_v1.1.0', 'm_v1.0.0']
/** Returns the state with its last routing at this generation and time. */
const since = (state: ReleaseState, generation: number, startedMs = 100): ReleaseState => ({
  ...state,
  generation,
  routings: [...state.routings.slice(0, -1), { ...state.routings.at(-1)!, generation, startedMs }],
})

const rows = [100, 110, 120].flatMap((at) => [row(at, candidate, 5, 5), row(at, baseline, 5, 95)])
const look = (state: ReleaseState, watchedMs: number, counted = rows) =>
  canaryEvidenceOf(state, { counted, staleMs: 1, watchedMs }).stage

describe('ticks', () => {
  it('sum replicas and arms by version, and exclude other versions', () => {
    const state = since(routedCanary, 5)
    const ticks = canaryTicks(state, [
      row(110, baseline, 5, 90),
      row(110, candidate, 5, 9, 2),
      row(110, candidate, 5, 1),
      row(110, 'm_v0.9.0', 5, 50),
      row(100, candidate, 5, 4),
    ])
    expect(ticks.map(({ startMs }) => startMs)).toEqual([100, 110])
    expect(ticks[1]).toMatchObject({
      shareBp: 100,
      canary: { requests: 10, invalid: 2 },
      control: { requests: 90 },
    })
  })

  it('have no share when it changed within them, is unknown, or when the candidate only received copies', () => {
    const state = since(second, 6)
    const [mixed, unknown] = canaryTicks(state, [
      row(100, candidate, 5, 1),
      row(100, candidate, 6, 1),
      row(110, candidate, 99, 1),
    ])
    expect([mixed?.shareBp, unknown?.shareBp]).toEqual([null, null])
    const [copied] = canaryTicks(since(routedShadow, 7), [row(100, candidate, 7, 1)])
    expect(copied).toMatchObject({ shareBp: null, shadow: true })
    expect(mixed).not.toHaveProperty('shadow')
  })

  it('are two where the shadow ends, so that its copies do not hide that the first served requests fail', () => {
    const { routings } = since(routedShadow, 7)
    const canary = since(routedCanary, 8, 105)
    const state = { ...canary, routings: [routings.at(-1)!, canary.routings.at(-1)!] }
    const counted = [
      row(90, candidate, 7, 100),
      row(90, baseline, 7, 100),
      row(100, candidate, 8, 11, 6),
      row(100, candidate, 7, 58),
      row(100, baseline, 8, 200),
      row(100, baseline, 7, 58),
    ]
    const evidence = canaryEvidenceOf(state, { counted, staleMs: 1, watchedMs: 1_000 })
    expect(
      evidence.ticks.map(({ canary, control, shareBp, shadow }) => [
        canary.requests,
        control.requests,
        shareBp,
        shadow,
      ]),
    ).toEqual([
      [100, 100, null, true],
      [58, 58, null, true],
      [11, 200, 100, undefined],
    ])
    const { kind, reasons } = judgeCanary(evidence, defaultCanaryPolicy)
    const [guard] = reasons.filter(({ code }) => code === 'guard')
    expect([kind, guard?.values['atMs']]).toEqual(['fail', 100])
    // The length of the tick counts once for the stage.
    expect(look(since(state, 8, 100), 1_000, counted).elapsedMs).toBe(10)
  })
})

describe('the stage', () => {
  it('lasts as long as it was both watched and counted', () => {
    const state = since(routedCanary, 5)
    expect(look(state, 25).elapsedMs).toBe(25)
    expect(look(state, 1_000).elapsedMs).toBe(30)
    expect(look(state, 1_000, [row(90, candidate, 5, 5)]).elapsedMs).toBe(0)
    expect(look(state, 1_000, [])).toMatchObject({
      elapsedMs: 0,
      startedMs: 100,
      minMs: 100,
      minRequests: 10,
    })
  })

  it('is the last before 100 % when nothing but probation follows', () => {
    expect(look(since(routedShadow, 5), 0).last).toBe(false)
    expect(look(since(routedCanary, 5), 0).last).toBe(false)
    expect(look(since(second, 5), 0).last).toBe(true)
    expect(look(since(probated, 5), 0).last).toBe(true)
    expect(look(since(advanceAll(second, judgedEvent('inconclusive')), 5), 0).last).toBe(true)
    expect(look(since(undecided, 5), 0)).toMatchObject({ last: false, minMs: 100 })
  })

  it('has the share of the compared responses', () => {
    expect(look(since(routedCanary, 5), 0).shareBp).toBe(100)
    expect(look(since(routedShadow, 5), 0)).toMatchObject({ shareBp: 5_000, shadow: true })
    expect(look(since(routedCanary, 5), 0).shadow).toBeUndefined()
    expect(look(since(probated, 5), 0).shareBp).toBe(9_500)
  })

  it('restarts with each routing', () => {
    const routed = { ...stepEvents.routed, generation: 9, startedMs: 777 } as typeof stepEvents.routed
    expect(look(advanceAll({ ...routedCanary, routed: false }, routed), 0).startedMs).toBe(777)
  })

  it('has the pairs with known outcomes', () => {
    const paired = { b: 1, c: 2, same: 3 }
    const state = since(routedShadow, 5)
    expect(canaryEvidenceOf(state, { counted: [], staleMs: 1, watchedMs: 0, paired }).paired).toEqual(paired)
    expect(canaryEvidenceOf(state, { counted: [], staleMs: 1, watchedMs: 0 })).not.toMatchObject({
      paired: expect.anything(),
    })
  })
})
