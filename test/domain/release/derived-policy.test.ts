import { describe, expect, it } from 'vitest'
import { compressedPolicy, hotfixPolicy } from '../../../domain/release/derived-policy.ts'
import { issuesOfPolicy, type ReleasePolicy, type Strategy } from '../../../domain/release/policy.ts'
import { releasePolicy } from '../../support/release/releases.ts'

const stage = { shareBp: 2_500, minMs: 100, minRequests: 10, deadlineMs: 1_000 }
const { shadow: _shadow, stages: _stages, ...plain } = releasePolicy
/** A policy of each strategy. */
const policies: Record<Strategy, ReleasePolicy> = {
  canary: { ...releasePolicy, targeted: { ...stage, target: { routingKeys: ['user-7'] } } },
  ab: { ...plain, strategy: 'ab', stages: [stage], ab: { metric: 'accuracy', alpha: 0.05 } },
  rolling: { ...plain, strategy: 'rolling', stages: releasePolicy.stages },
  blue_green: { ...plain, strategy: 'blue_green', stages: [] },
  shadow: { ...plain, strategy: 'shadow', shadow: stage, stages: [] },
  direct: { ...plain, strategy: 'direct', stages: [], probation: undefined },
}

describe('the default policy of a compressed version', () => {
  it.each(['canary', 'ab'] as const)(
    'of a model that is released by %s: its shadow and one stage',
    (strategy) => {
      const policy = policies[strategy]
      const derived = compressedPolicy(policy)
      expect(issuesOfPolicy(policy)).toEqual([])
      expect(derived).toMatchObject({ strategy: 'canary', stages: [stage] })
      expect([derived.targeted, derived.ab]).toEqual([undefined, undefined])
      const { shadow, approval, probation, watch, limits } = policy
      expect(derived).toEqual({
        strategy: 'canary',
        shadow,
        stages: [stage],
        approval,
        probation,
        watch,
        limits,
      })
    },
  )

  it.each(['rolling', 'blue_green', 'shadow', 'direct'] as const)('of %s: its own steps', (strategy) => {
    expect(compressedPolicy(policies[strategy])).toEqual(policies[strategy])
  })

  it('of a canary without a shadow: its own stages', () => {
    const policy = { ...policies.canary, shadow: undefined }
    expect(compressedPolicy(policy)).toEqual(policy)
  })

  it.each(Object.values(policies))('is valid, and rolls back other answers: $strategy', (policy) => {
    const derived = compressedPolicy(policy, 0.01)
    expect(issuesOfPolicy(derived)).toEqual([])
    expect(derived.limits.disagreement).toEqual({ max: 0.01, action: 'rollback' })
  })

  it('keeps a limit of the model that is smaller than that of the gate', () => {
    const { limits } = policies.canary
    const strict = {
      ...policies.canary,
      limits: { ...limits, disagreement: { max: 0.002, action: 'ask' as const } },
    }
    expect(compressedPolicy(strict, 0.01).limits.disagreement).toEqual({ max: 0.002, action: 'rollback' })
  })

  it('gives way to the stages of a hotfix', () => {
    const hotfix = { stages: [{ ...stage, shareBp: 5_000 }] }
    const derived = hotfixPolicy(compressedPolicy({ ...policies.canary, hotfix }))
    expect([derived.shadow, derived.stages]).toEqual([undefined, hotfix.stages])
  })
})
