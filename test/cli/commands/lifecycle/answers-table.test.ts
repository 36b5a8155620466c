/** Tests the table of `releases show` about differences in the candidate's answers. */
import { expect, it } from 'vitest'
import { answersTable, gateTable } from '../../../../cli/commands/lifecycle/releases.ts'
import { defaultDisagreement, reportDisagreement } from '../../../../domain/canary/disagreement.ts'
import type { Terminal } from '../../../../cli/terminal.ts'

const terminal = {
  columns: 120,
  paint: (_style: string, text: string) => text,
  times: (text: string) => text,
} as unknown as Terminal

it('lists the slices worst first, with the direction and the share of each answer', () => {
  const disagreement = reportDisagreement(
    {
      measure: 'decisions',
      all: { name: 'all requests', distances: [940, 60] },
      slices: [
        { name: 'morning', distances: [600, 0] },
        { name: 'night', distances: [0, 0] },
        { name: 'evening', distances: [20, 60] },
      ],
      changes: [{ from: 'late', to: 'on time', count: 60 }],
    },
    defaultDisagreement,
    0.002,
  )
  const answers = { names: ['on time', 'late'], canary: [950, 50], control: [800, 200] }
  const text = answersTable(terminal, { disagreement, answers })
  expect(text).toMatch(/Disagreement in the shadow \(limit 20 %\)/)
  expect(text).toMatch(/all requests .*6 %.*\n.*evening .*75 %.*above.*\n.*morning .*0 %.*not exceeded/)
  expect(text).toMatch(/night +0 +– +– +no users/)
  expect(text).toContain('late → on time: 60')
  expect(text).toMatch(/late +5 % +20 %/)
  expect(answersTable(terminal, {})).toBe('')
})

it('the gains of the gate have signs, and their interval its level', () => {
  const row = { metric: 'auc', champion: 0.7, challenger: 0.69, baseline: 0.5, verdict: 'not_worse' }
  const metrics = [{ ...row, delta: -0.01, low: -0.02, high: 0.004 }]
  const report = {
    metrics,
    policy: { confidence: 0.975, primary: 'auc', guards: [], slices: { metric: 'auc' } },
  }
  const text = gateTable(terminal, { id: 'evl_1', verdict: 'not_worse', report } as never)
  expect(text).toMatch(/gain +97\.5 % interval +verdict/)
  expect(text).toMatch(/auc +0\.7000 +0\.6900 +0\.5000 +−0\.0100 +−0\.0200 to \+0\.0040 +no regression/)
})

it.each(['unseen_rows', 'same_recipe'])('the gate says first what it compared: %s', (code) => {
  const metrics = [{ metric: 'auc', champion: 0.7, challenger: 0.7, baseline: 0.5, verdict: 'not_worse' }]
  const report = { metrics, warnings: [{ code, message: 'recipes are compared' }] }
  const text = gateTable(terminal, { id: 'evl_1', verdict: 'not_worse', report } as never)
  expect(text).toMatch(/evl_1\)\nRecipes are compared\nmetric /)
})

it('the shares of several numbers count users by number', () => {
  const names = ['a < 1', 'a ≥ 1', 'b < 1', 'b ≥ 1']
  const answers = { names, canary: [50, 50, 90, 10], control: [400, 600, 500, 500], perKey: 2 }
  expect(answersTable(terminal, { answers })).toMatch(/a < 1 +50 % +40 %.*\n.*\n.*b < 1 +90 % +50 %/)
})

it('what users did stands by metric, with the gain of the candidate', () => {
  const text = answersTable(terminal, { business })
  expect(text).toMatch(/What users did after their first request/)
  expect(text).toMatch(/revenue +2\.5 +3\.125 +-20 % +10000 +proven/)
  expect(
    answersTable(terminal, { business: [{ ...business[0]!, means: null, gain: null, worseLogE: 0 }] }),
  ).toMatch(/revenue +– +– +– +10000 +not proven/)
})

const business = [
  {
    name: 'revenue',
    event: '<purchase>',
    users: { canary: 500, control: 9_500 },
    blocks: 500,
    means: { canary: 2.5, control: 3.125 },
    gain: -0.2,
    worseLogE: 7,
    betterLogE: -2,
    threshold: 6.215,
  },
]

it('what other systems measured stands by metric, with what a silent source says', () => {
  const means = { canary: 0.4, control: null }
  const row = { name: 'refused', source: 'prometheus', windows: 12, means, unread: 0, threshold: 6.908 }
  const text = answersTable(terminal, {
    external: [
      { ...row, limit: 0.2, worseLogE: 7, failed: 0 },
      { ...row, limit: null, worseLogE: 0, failed: 3, problem: 'fetch failed' },
    ],
  })
  expect(text).toMatch(/What other systems measured/)
  expect(text).toMatch(/refused +prometheus +0\.4 +0\.2 +12 +proven +–/)
  expect(text).toMatch(/refused +prometheus +0\.4 +– +12 +not proven +fetch failed/)
})
