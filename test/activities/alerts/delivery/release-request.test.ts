/** Tests the text of requests and promotions: question, evidence, deadline and excluded users in one line. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { GateMetricRow } from '../../../../domain/evaluation/metric-table.ts'
import { defaultGatePolicy } from '../../../../domain/evaluation/policy.ts'
import { promotionNotice, releaseRequest } from '../../../../activities/alerts/delivery/report-releases.ts'
import { openingState, type ReleaseState } from '../../../../domain/release/state.ts'
import { checkout } from '../../../../temporal.config.ts'
import { firstFacts, releaseFacts } from '../../../support/release/releases.ts'

const row: GateMetricRow = {
  metric: 'auc',
  higherIsBetter: true,
  champion: 0.682,
  challenger: 0.6957,
  baseline: 0.5,
  delta: 0.0137,
  low: 0.00903,
  high: 0.0183,
  oneSidedLow: 0.0098,
  p: 0.001,
  margin: 0.005,
  floor: 0.58,
  floorMet: true,
  method: 'delong',
  verdict: 'better',
}
const slice = (name: string, delta: number | null) => ({
  name,
  rows: 100,
  positives: 50,
  champion: 0.6,
  challenger: 0.6,
  delta,
  p: null,
  adjustedP: null,
  verdict: 'ok' as const,
})
const report = {
  metrics: [row],
  slices: [slice('morning', 0.02), slice('short haul', -0.0066), slice('rare', null)],
  policy: defaultGatePolicy('binary'),
}
const asking: ReleaseState = {
  ...openingState(releaseFacts, 0),
  stage: 'awaiting_approval',
  enteredMs: Date.parse('2026-11-28T05:34:00Z') - releaseFacts.policy.approval.withinMs,
}

describe('a request for approval', () => {
  it('names the question, the gain with its interval, the worst slice, the harm, the deadline and who is excluded', () => {
    expect(releaseRequest(asking, { report, owner: 'flight team' })).toEqual({
      kind: 'approval_needed',
      dedupeKey: `request/rel_1/awaiting_approval/${asking.enteredMs}`,
      headline: 'Approve m_v1.1.0? AUC +0.0137',
      message:
        `Approve m_v1.1.0? AUC +0.0137 against m_v1.0.0 (95 % interval +0.0090 to +0.0183). Worst slice short haul −0.0066. ` +
        `Failure budget: ${releaseFacts.policy.limits.harmBudget} failed requests more than m_v1.0.0 would have had. ` +
        `Expires 2026-11-28 05:34 UTC without an answer. Requested by olga, who cannot approve. Owner: flight team.`,
      untilMs: Date.parse('2026-11-28T05:34:00Z'),
    })
  })

  it('reads as on the page about alert channels', () => {
    const page = readFileSync(join(checkout, 'docs', 'how-to', 'alert-channels.md'), 'utf8')
    const { message } = releaseRequest(asking, { report })!
    const named = message
      .replaceAll('m_v1.1.0', 'flight-delay_v1.2.1')
      .replaceAll('m_v1.0.0', 'flight-delay_v1.1.0')
    expect(page.replaceAll(/\s+/g, ' ')).toContain(named)
  })

  it('names the most certain slice that a search has found', () => {
    const found = ['age < 30 and country = DE', 'hour ≥ 22'].map((name) => ({
      name,
      rows: { proposing: 300, proving: 1_310 },
      champion: 0.1,
      challenger: 0.2,
    }))
    const search = (count: number) => ({
      metric: 'brier' as const,
      rows: { proposing: 9_000, proving: 9_000 },
      proposed: 4,
      found: found.slice(0, count),
    })
    const of = (count: number) =>
      releaseRequest(asking, { report: { ...report, sliceSearch: search(count) } })!.message
    expect(of(2)).toContain(
      '−0.0066. Worse where age < 30 and country = DE (1,310 test rows) and in 1 other slice, as a search found. Failure',
    )
    expect(of(1)).toContain('(1,310 test rows), as a search found.')
    expect(of(0)).not.toContain('search')
  })

  it('says of refitted weights what was judged and what is released', () => {
    const refit = { trainingId: 't', snapshot: 'sha256:2', rows: 31, judged: 'j', change: 0.01, limit: 0.1 }
    const { message } = releaseRequest(asking, { report, lineage: { snapshot: 'sha256:1', refit } })!
    expect(message).toContain(
      '. Recipe judged on the test rows of the snapshot sha256:1, weights refitted on 31 rows (',
    )
  })

  it('names what needs a check by a user, and the warnings of the gate, but not why it passed', () => {
    const concerns = {
      needsPerson: true,
      reasons: [
        { code: 'too_good', message: 'auc rose by 0.3' },
        { code: 'better', message: 'auc 0.9 vs 0.6' },
      ],
      warnings: [
        { code: 'chosen_by_sweep', message: 'chosen among 30 trials' },
        { code: 'rows_repeat', message: 'most test rows repeat' },
      ],
    }
    const { message } = releaseRequest(asking, { report: { ...report, ...concerns } })!
    expect(message).toContain(
      'short haul −0.0066. The gate warns: auc rose by 0.3. The gate warns: most test rows repeat. Failure budget: ',
    )
    expect(message).not.toMatch(/0\.9 vs 0\.6|30 trials/)
  })

  it('speaks of no control for a first version', () => {
    const { message } = releaseRequest({ ...asking, baseline: undefined }, { report })!
    expect(message).toContain('. No champion to compare failures with. Expires ')
    expect(message).not.toContain('budget')
  })

  it('names the users who have approved, and those alone who may', () => {
    const policy = {
      ...releaseFacts.policy,
      approval: { ...releaseFacts.policy.approval, from: ['ada', 'bob'] },
    }
    const message = releaseRequest(
      { ...asking, policy, approvals: [{ by: 'ada', atMs: 1 }] },
      { report },
    )?.message
    expect(message).toContain('Approved so far by ada. Only ada, bob may approve.')
  })

  it('of a first version names its value and floor, and says when no evaluation can be read', () => {
    const first: ReleaseState = { ...asking, ...firstFacts, baseline: undefined }
    const only = { ...report, metrics: [{ ...row, delta: null, low: null, high: null }], slices: [] }
    expect(releaseRequest(first, { report: only })?.message).toContain(
      'First version: AUC 0.6957, floor 0.58. No slices are defined.',
    )
    expect(releaseRequest(asking, {})).toMatchObject({ headline: 'Approve m_v1.1.0? No evaluation' })
  })

  it('is absent in other stages and for a drill', () => {
    expect(releaseRequest({ ...asking, stage: 'canary' }, { report })).toBeUndefined()
    expect(releaseRequest({ ...asking, drill: 'nan' }, { report })).toBeUndefined()
  })
})

it('a request for a decision names the stage, what is missing, the harm so far and the rollback', () => {
  const state: ReleaseState = {
    ...asking,
    stage: 'awaiting_decision',
    undecidedStage: 'canary',
    shareBp: 500,
    routed: true,
    lastVerdict: { kind: 'inconclusive', reason: '212 of at least 500 requests', atMs: 1 },
  }
  const request = releaseRequest(state, { report, excess: 3 })
  expect(request).toMatchObject({ kind: 'decision_needed', headline: 'Decide on m_v1.1.0? AUC +0.0137' })
  expect(request?.message).toMatch(
    /^Decide on m_v1\.1\.0\? Canary 5 %: 212 of at least 500 requests\. AUC .*\. Failure budget: 3 used of \d+ failed requests more than m_v1\.0\.0 would have had\. Rolls back 20.* without an answer\. Requested by olga, /,
  )
})

it('a promotion is told with what it replaces, its gain, its approvers and the end of its probation', () => {
  const approvals = [{ by: 'ada', atMs: 1 }]
  const probation: ReleaseState = { ...asking, stage: 'probation', promoted: true, approvals }
  expect(promotionNotice(probation, { report })).toEqual({
    headline: 'm_v1.1.0 is champion, in probation',
    message: expect.stringMatching(
      /^m_v1\.1\.0 is champion \(replaces m_v1\.0\.0\): AUC \+0\.0137 .*; approved by ada; in probation until 20.* or later, still rolled back automatically\.$/,
    ) as string,
  })
  const ended: ReleaseState = {
    ...probation,
    stage: 'ended',
    outcome: 'promoted',
    reason: 'passed all stages',
  }
  expect(promotionNotice(ended, { report }).message).toMatch(
    /^m_v1\.1\.0 is promoted \(replaces m_v1\.0\.0\): passed all stages; AUC/,
  )
  const twice = { ...ended, approvals: [...ended.approvals, ...ended.approvals] }
  expect(promotionNotice(twice, { report }).message).toMatch(/approved by ada\.$/)
})
