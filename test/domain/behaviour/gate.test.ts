import { describe, expect, it } from 'vitest'
import type { BehaviourRow, BehaviourVerdict } from '../../../domain/behaviour/behaviour-test.ts'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { gateMarkdown } from '../../../domain/evaluation/report-markdown.ts'
import { cardMarkdown } from '../../../domain/registry/model-card-markdown.ts'
import { modelCard } from '../../../domain/registry/model-card.ts'
import { seededRandom } from '@tenure/sequential'

const uniform = seededRandom(1)
const y = Array.from({ length: 1_200 }, () => (uniform() < 0.4 ? 1 : 0))
const guess = (sharpness: number) => y.map((label) => [0.5 + sharpness * (label - 0.5) * uniform()])
const policy = {
  ...defaultGatePolicy('binary'),
  resamples: 100,
  floors: { auc: 0.5 },
  calibration: 'off' as const,
}
const result = (verdict: BehaviourVerdict) => ({
  verdict,
  message: 'its | finding',
  rows: 10,
  failed: 1,
  examples: [],
})
const tested = (verdict: BehaviourVerdict): BehaviourRow => ({
  name: 'a * test',
  kind: 'exact',
  challenger: result(verdict),
  champion: result('pass'),
})
const judged = (tests: BehaviourRow[], rows = y.length) =>
  judgeGate(
    {
      y: y.slice(0, rows),
      challenger: guess(0.9).slice(0, rows),
      champion: guess(0.3).slice(0, rows),
      tests,
    },
    policy,
  )

describe('the gate', () => {
  it('stops a better challenger that fails a behaviour test', () => {
    const report = judged([tested('fail'), tested('pass')])
    expect(report).toMatchObject({ verdict: 'not_better', needsPerson: false })
    expect(report.reasons[0]).toMatchObject({
      code: 'test_failed',
      message: 'the test "a * test" fails: its | finding; the champion passes it',
    })
    expect(report.tests).toHaveLength(2)
  })

  it('stops it on few rows too, because a failed test is certain', () => {
    expect(judged([tested('pass')], 500).verdict).toBe('insufficient')
    expect(judged([tested('fail')], 500).verdict).toBe('not_better')
  })

  it('asks a user about a test that could not be computed', () => {
    const { needsPerson: fine } = judgeGate(
      { y, challenger: guess(0.31), champion: guess(0.3), tests: [tested('pass')] },
      policy,
    )
    const open = judgeGate(
      { y, challenger: guess(0.31), champion: guess(0.3), tests: [tested('not_computed')] },
      policy,
    )
    expect([fine, open.needsPerson]).toEqual([false, true])
    expect(open.reasons[0]?.code).toBe('test_not_computed')
  })

  it('keeps the tests of rows that it cannot read', () =>
    expect(
      judgeGate({ y: [], challenger: [], champion: null, tests: [tested('pass')] }, policy).tests,
    ).toHaveLength(1))

  it('lists no tests of a model file without any', () => expect(judged([]).tests).toBeUndefined())
})

it('report and model card list the tests', () => {
  const report = judged([tested('fail')])
  const page = gateMarkdown(report, { model: 'm', challenger: 'x' })
  expect(page).toContain('| a \\* test | exact | **fails** | passes | its \\| finding |')
  const card = modelCard({
    version: 'm_v1.0.0',
    model: 'm',
    status: 'registered',
    createdAt: '2026-03-01T00:00:00.000Z',
    createdBy: 'retrain',
    artifactDigest: 'sha256:aa',
    manifest: {},
    lineage: {},
    evaluation: { id: 'e', verdict: 'better', report },
  })
  expect(card.evaluation?.tests).toEqual([
    { name: 'a * test', kind: 'exact', verdict: 'fail', message: 'its | finding' },
  ])
  expect(cardMarkdown(card)).toContain('| a \\* test | exact | fail | its \\| finding |')
})
