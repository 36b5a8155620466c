/** Tests when a guard gives the whole share of a gateway to the known good version, and when it changes nothing. */
import { describe, expect, it } from 'vitest'
import {
  emptyMemory,
  judgeExposure,
  type ExposureAnswer,
  type GuardMemory,
} from '../../../domain/serving/gateway-guard.ts'
import { traitsOf, type GatewayServer } from '../../../domain/serving/gateway.ts'

const [champion, candidate, other] = ['m_v1.0.0', 'm_v1.1.0', 'm_v1.2.0']
const traits = traitsOf({ gateway: 'kserve', namespace: 'n', name: 'm', metrics: {} as never })
const servers = (weights: Record<string, number>) =>
  Object.entries(weights).map(([name, weight]) => ({ name, weight }) as GatewayServer)
const yes = (proven?: string): ExposureAnswer => ({ mayServe: true, proven })
const no: ExposureAnswer = { mayServe: false, reason: 'no answer' }

/** Judges checks in turn and returns the last judgement. */
function judged(
  weights: Record<string, number>,
  asked: readonly Record<string, ExposureAnswer>[],
  memory: GuardMemory = emptyMemory,
) {
  let last = { memory } as ReturnType<typeof judgeExposure>
  for (const answers of asked) {
    expect(last.order).toBeUndefined()
    last = judgeExposure(
      last.memory,
      { servers: servers(weights), answers: new Map(Object.entries(answers)) },
      { checks: 3, traits },
    )
  }
  return last
}
const canary = { [champion]: 95, [candidate]: 5 }
const lives = { [champion]: yes(champion), [candidate]: yes(champion) }
const silent = { [champion]: no, [candidate]: no }
const whole = { weights: { [champion]: 100 }, leased: [] }

describe('the known good version gets the whole share', () => {
  it('after as many silent checks in a row as are set, and not before', () => {
    expect(judged(canary, [lives, silent, silent]).order).toBeUndefined()
    expect(judged(canary, [lives, silent, silent, silent]).order).toEqual(whole)
  })
  it('while replicas answer that the candidate may not serve, also without a lease of their own', () => {
    const refused = { [champion]: yes(), [candidate]: no }
    expect(judged(canary, [lives, refused, refused, refused]).order).toEqual(whole)
  })
  it('also where the candidate has all of it and is not yet proven', () => {
    const all = { [champion]: 0, [candidate]: 100 }
    const [may, not] = [{ [candidate]: yes(champion) }, { [candidate]: no }]
    expect(judged(all, [may, not, not, not]).order).toEqual(whole)
  })
  it('from two candidates, when neither may serve', () => {
    const three = { [champion]: 90, [candidate]: 5, [other]: 5 }
    const none = { ...silent, [other]: no }
    expect(judged(three, [{ ...lives, [other]: yes(champion) }, none, none, none]).order).toEqual(whole)
  })
})

describe('nothing is changed', () => {
  it('while one check in between has an answer', () => {
    expect(judged(canary, [lives, silent, silent, lives, silent, silent]).order).toBeUndefined()
  })
  it('while another candidate may serve, whose replica moves the weights', () => {
    const three = { [champion]: 90, [candidate]: 5, [other]: 5 }
    const one = { [champion]: yes(champion), [candidate]: no, [other]: yes(champion) }
    expect(judged(three, [one, one, one, one]).order).toBeUndefined()
  })
  it('while no replica has named the known good version, and the text says so', () => {
    const found = judged(canary, [silent, silent, silent, silent])
    expect(found.order).toBeUndefined()
    expect(found.text).toMatch(
      /^for 3 checks no replica .* \(no answer\), and none has named .*: nothing is changed$/,
    )
    const unleased = { [champion]: yes(), [candidate]: no }
    expect(judged(canary, [unleased, unleased, unleased, unleased]).order).toBeUndefined()
  })
  it.each([
    ['the known good version alone has a share', { [champion]: 100, [candidate]: 0 }],
    ['no version has one', { [champion]: 0, [candidate]: 0 }],
  ])('while %s', (_, weights) => {
    expect(judged(weights, [lives, silent, silent, silent]).order).toBeUndefined()
  })
  it('for a version that was promoted before the replicas fell silent', () => {
    const promoted = { [champion]: 0, [candidate]: 100 }
    const [may, not] = [{ [candidate]: yes(candidate) }, { [candidate]: no }]
    expect(
      judged(promoted, [may, not, not, not], { proven: champion, silentChecks: {} }).order,
    ).toBeUndefined()
  })
})

it('the checks of a version count anew after it had no share', () => {
  const { memory } = judged(canary, [lives, silent, silent])
  expect(memory.silentChecks).toEqual({ [candidate]: 2 })
  const without = judged({ [champion]: 100, [candidate]: 0 }, [silent], memory)
  expect(without.memory).toEqual({
    proven: champion,
    named: { proven: champion, weights: canary },
    silentChecks: {},
  })
  expect(judged(canary, [silent], without.memory).order).toBeUndefined()
})

describe('a guard that starts while no replica answers', () => {
  const after = (weights: Record<string, number>, named?: GuardMemory['named']) =>
    judged(weights, [silent, silent, silent], { named, silentChecks: {} })
  it('gives the whole share to the version that an earlier guard was told, while the weights are those of then', () => {
    const { memory } = judged(canary, [lives])
    expect(memory.named).toEqual({ proven: champion, weights: canary })
    // A server without weight tells nothing.
    expect(after({ ...canary, [other]: 0 }, memory.named).order).toEqual(whole)
  })
  it.each([
    ['another stage', { [champion]: 75, [candidate]: 25 }],
    ['another champion', { [champion]: 0, [candidate]: 100 }],
    ['another candidate', { [champion]: 95, [other]: 5 }],
  ])('changes nothing where the weights are those of %s, and says so', (_, weights) => {
    const found = after(weights, { proven: champion, weights: canary })
    expect(found.order).toBeUndefined()
    expect(found.text).toMatch(
      / \(an earlier guard knew m_v1\.0\.0, and it may be another one by now\): nothing is changed$/,
    )
  })
  it('changes nothing where the known good version had no share, because the release may have ended with the same weights', () => {
    const all = { [candidate]: 100 }
    expect(after(all, { proven: champion, weights: all }).order).toBeUndefined()
  })
  it('keeps acting after another hand has changed the weights', () => {
    const { memory } = after(canary, { proven: champion, weights: canary })
    expect(judged({ [champion]: 50, [candidate]: 50 }, [silent], memory).order).toEqual(whole)
  })
})
