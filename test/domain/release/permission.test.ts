/** Tests what the recorded rows of a release permit, whatever state its workflow claims. */
import { describe, expect, it } from 'vitest'
import { factsOf } from '../../../domain/release/facts.ts'
import {
  issueOfEnd,
  issueOfRoute,
  supported,
  type ReleaseRecord,
  type SignedStatement,
  type StageVerdicts,
} from '../../../domain/release/permission.ts'
import { openingState, type ReleaseState } from '../../../domain/release/state.ts'
import { releaseFacts } from '../../support/release/releases.ts'

const opened = openingState(releaseFacts, 0)
const statement = (command: SignedStatement['command'], by: string, more: Partial<SignedStatement> = {}) => ({
  command,
  by,
  key: `key-of-${by}`,
  role: 'approver' as const,
  isValid: true,
  seen: {},
  atMs: 1,
  ...more,
})
const judged = (stage: StageVerdicts['stage'], stageIndex = 0, passed = true): StageVerdicts => ({
  stage,
  stageIndex,
  passed,
  firstMs: 10 * (stageIndex + 1),
  last: stageIndex + 1,
})
const record = (more: Partial<ReleaseRecord> = {}): ReleaseRecord => ({
  facts: factsOf(opened),
  digests: { artifact: opened.digests.artifact, policy: opened.digests.policy },
  statements: [statement('approve', 'anna'), statement('approve', 'ben')],
  verdicts: [judged('shadow'), ...opened.policy.stages.map((_, index) => judged('canary', index))],
  promoted: false,
  rolledBack: false,
  ...more,
})
const promoting: ReleaseState = { ...opened, stage: 'promoting' }
const issueOf = (state: ReleaseState, recorded: ReleaseRecord) =>
  issueOfRoute(supported(state, recorded), recorded)

it('an approval of a user whom the policy does not name does not count', () => {
  const approval = { ...opened.policy.approval, from: ['anna', 'carl'] }
  const named = { ...opened, policy: { ...opened.policy, approval } }
  const recorded = record({ facts: factsOf(named) })
  expect(supported(named, recorded).approvals.map(({ by }) => by)).toEqual(['anna'])
})

describe('a promotion', () => {
  it('is permitted with the approvals and the verdicts of every stage', () => {
    expect(issueOf(promoting, record())).toBeUndefined()
    // An approval is recorded a moment after it was accepted.
    const inTime = [
      statement('approve', 'anna'),
      statement('approve', 'ben', { atMs: 5_010, untilMs: 5_000 }),
    ]
    expect(issueOf(promoting, record({ statements: inTime }))).toBeUndefined()
  })

  it.each<[string, Partial<ReleaseRecord>]>([
    ['no approval', { statements: [] }],
    ['one approval too few', { statements: [statement('approve', 'anna')] }],
    [
      'the same approver twice',
      { statements: [statement('approve', 'anna'), statement('approve', 'anna', { atMs: 2 })] },
    ],
    [
      "the requester's own approval",
      { statements: [statement('approve', 'anna'), statement('approve', opened.requestedBy)] },
    ],
    [
      'an approval of an operator',
      { statements: [statement('approve', 'anna'), statement('approve', 'ben', { role: 'operator' })] },
    ],
    [
      'an approval of a revoked key',
      { statements: [statement('approve', 'anna'), statement('approve', 'ben', { isValid: false })] },
    ],
    [
      'an approval that came too late',
      {
        statements: [statement('approve', 'anna'), statement('approve', 'ben', { atMs: 60_001, untilMs: 0 })],
      },
    ],
    [
      'an approval of other bytes',
      {
        statements: [statement('approve', 'anna'), statement('approve', 'ben', { seen: { artifact: 'x' } })],
      },
    ],
    [
      'another command in its place',
      { statements: [statement('approve', 'anna'), statement('resume', 'ben')] },
    ],
  ])('is refused with %s', (_title, more) => {
    expect(issueOf(promoting, record(more))).toMatch(/signed approvals are recorded/)
  })

  it('counts no approval, policy, stage or requester that only the state claims', () => {
    const statement = { by: 'anna', atMs: 1, digests: opened.digests }
    const free = { ...opened.policy, approval: { approvers: 0, withinMs: 1 }, stages: [] }
    const claims: Partial<ReleaseState>[] = [
      { approvals: [statement, { ...statement, by: 'ben' }] },
      { policy: free },
      { strategy: 'direct' },
      { requestedBy: 'vera' },
      { breakGlass: { ...statement, reason: 'outage' } },
    ]
    for (const claim of claims)
      expect(issueOf({ ...promoting, ...claim }, record({ statements: [] }))).toMatch(
        /0 of \d signed approvals/,
      )
  })

  it.each([...opened.policy.stages.keys()])('is refused without a verdict on canary stage %s', (index) => {
    const verdicts = record().verdicts.filter(
      ({ stage, stageIndex }) => stage !== 'canary' || stageIndex !== index,
    )
    expect(issueOf(promoting, record({ verdicts }))).toBe(
      `no verdict or decision that canary stage ${index} was passed is recorded`,
    )
  })

  it('needs a decision of an approver who has seen the verdicts of a stage that no verdict passed', () => {
    const verdicts = record().verdicts.map((each) =>
      each.stage === 'canary' ? { ...each, passed: false } : each,
    )
    const decided = (atMs: number) => [
      ...record().statements,
      ...verdicts.map(() => statement('approve', 'anna', { atMs })),
    ]
    expect(issueOf(promoting, record({ verdicts, statements: decided(5) }))).toMatch(/canary stage 0/)
    expect(issueOf(promoting, record({ verdicts, statements: decided(1_000) }))).toBeUndefined()
    const own = statement('approve', opened.requestedBy, { atMs: 1_000 })
    const statements = [...record().statements, own]
    expect(issueOf(promoting, record({ verdicts, statements }))).toMatch(/canary stage 0/)
  })
})

describe('a break-glass order', () => {
  const order = statement('promoteNow', 'root', { role: 'admin', reason: 'outage' })
  const hurried: ReleaseState = { ...promoting, breakGlass: { by: 'root', atMs: 1, reason: 'outage' } }

  it('replaces approvals and all stages but the one that was judged last', () => {
    const verdicts = [judged('canary', 0)]
    expect(issueOf(hurried, record({ statements: [order], verdicts }))).toBeUndefined()
    expect(issueOf(hurried, record({ statements: [order], verdicts: [] }))).toMatch(/canary stage 0/)
    const later = [...verdicts, judged('canary', 1, false)]
    expect(issueOf(hurried, record({ statements: [order], verdicts: later }))).toMatch(/canary stage 1/)
  })

  it.each<[string, Partial<SignedStatement>]>([
    ['of an approver', { role: 'approver' }],
    ['without a reason', { reason: ' ' }],
    ['of a revoked key', { isValid: false }],
  ])('%s replaces nothing', (_title, more) => {
    const statements = [{ ...order, ...more }]
    expect(issueOf(hurried, record({ statements, verdicts: [judged('canary', 0)] }))).toMatch(
      /0 of \d signed/,
    )
  })
})

describe('a stage', () => {
  const canary = (stageIndex: number): ReleaseState => ({
    ...opened,
    stage: 'canary',
    stageIndex,
    shareBp: 10_000,
  })

  it('is routed after the one before it, with the share of its policy', () => {
    const verdicts = [judged('shadow'), judged('canary', 0)]
    expect(supported(canary(1), record()).shareBp).toBe(opened.policy.stages[1]!.shareBp)
    expect(issueOf(canary(1), record({ verdicts }))).toBeUndefined()
    expect(issueOf(canary(1), record({ verdicts: [judged('shadow')] }))).toMatch(/canary stage 0/)
  })

  it.each<[string, Partial<ReleaseState>]>([
    ['a stage that the policy lacks', { stage: 'canary', stageIndex: 9 }],
    ['no stage', { stage: 'awaiting_approval' }],
  ])('is not routed: %s', (_title, more) => {
    expect(issueOf({ ...opened, ...more }, record())).toMatch(/no routing belongs to the stage/)
  })

  it('of probation needs the recorded promotion, and an end as promoted its verdict', () => {
    const probation: ReleaseState = { ...opened, stage: 'probation', promoted: true }
    expect(issueOf(probation, record())).toBe('the promotion is not recorded')
    expect(issueOf(probation, record({ promoted: true }))).toBeUndefined()
    const ended: ReleaseState = { ...probation, stage: 'ended', outcome: 'promoted' }
    const endOf = (more: Partial<ReleaseRecord>) => issueOfEnd(supported(ended, record(more)), record(more))
    expect(endOf({})).toBe('the promotion is not recorded')
    expect(endOf({ promoted: true })).toMatch(/the probation was passed/)
    expect(endOf({ promoted: true, verdicts: [judged('probation')] })).toBeUndefined()
    expect(endOf({ promoted: true, rolledBack: true })).toBeUndefined()
    const verdicts = [judged('probation', 0, false)]
    const decided = (by: string) => ({
      promoted: true,
      verdicts,
      statements: [statement('approve', by, { atMs: 99 })],
    })
    expect(endOf(decided(opened.requestedBy))).toMatch(/the probation was passed/)
    expect(endOf(decided('anna'))).toBeUndefined()
  })
})
