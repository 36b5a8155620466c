/** Tests the table of `releases show` about differences in the candidate's answers. */
import { expect, it } from 'vitest'
import { answersTable } from '../../../../cli/commands/lifecycle/releases.ts'
import { defaultDisagreement, reportDisagreement } from '../../../../domain/canary/disagreement.ts'
import type { Terminal } from '../../../../cli/terminal.ts'

const terminal = { columns: 120, paint: (_style: string, text: string) => text } as unknown as Terminal

it('lists the slices worst first, with the direction and the share of each answer', () => {
  const disagreement = reportDisagreement(
    {
      measure: 'decisions',
      all: { name: 'all requests', distances: [940, 60] },
      slices: [
        { name: 'morning', distances: [600, 0] },
        { name: 'evening', distances: [20, 60] },
      ],
      changes: [{ from: 'true', to: 'false', count: 60 }],
    },
    defaultDisagreement,
    0.002,
  )
  const answers = { names: ['on time', 'late'], canary: [950, 50], control: [800, 200] }
  const text = answersTable(terminal, { disagreement, answers })
  expect(text).toMatch(/Disagreement in the shadow \(limit 20 %\)/)
  expect(text).toMatch(/all requests .*6 %.*\n.*evening .*75 %.*above.*\n.*morning .*0 %.*not exceeded/)
  expect(text).toContain('true → false: 60')
  expect(text).toMatch(/late +5 % +20 %/)
  expect(answersTable(terminal, {})).toBe('')
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
