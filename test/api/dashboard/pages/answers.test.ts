/** Tests the part of the release page that shows how the candidate's answers differ. */
import { expect, it } from 'vitest'
import { AnswersSection } from '../../../../api/dashboard/pages/release/answers.tsx'
import { defaultDisagreement, reportDisagreement } from '../../../../domain/canary/disagreement.ts'

it('the approver sees the slices, worst first, the direction and the share of each answer, escaped', async () => {
  const disagreement = reportDisagreement(
    {
      measure: 'decisions',
      all: { name: 'all requests', distances: [940, 60] },
      slices: [
        { name: 'morning', distances: [600, 0] },
        { name: '<evening>', distances: [20, 60] },
      ],
      changes: [{ from: 'late', to: 'on time', count: 60 }],
    },
    defaultDisagreement,
    0.002,
  )
  const answers = { names: ['on time', 'late'], canary: [950, 50], control: [800, 200] }
  const html = String(await AnswersSection({ evidence: { disagreement, answers } }))
  expect(html).toMatch(/changes for.*6 %.*1,000 users.*above 20 %/s)
  expect(html).toMatch(/&lt;evening&gt;.*75 %.*above.*morning.*not exceeded/s)
  expect(html).toMatch(/late → on time: 60/)
  expect(html).toMatch(/late.*5 % \(50\).*20 % \(200\)/s)
  expect(html).toContain('(n): users, counted once in each stage')
  expect(html).not.toContain('<evening>')
  expect(String(await AnswersSection({ evidence: {} }))).toBe('')
})

it('a slice that no user has met yet has neither a share nor an interval', async () => {
  const evidence = {
    measure: 'decisions' as const,
    all: { name: 'all requests', distances: [9, 1] },
    slices: [{ name: 'evening', distances: [0, 0] }],
    changes: [],
  }
  const html = String(
    await AnswersSection({
      evidence: { disagreement: reportDisagreement(evidence, defaultDisagreement, 0.002) },
    }),
  )
  expect(html).toMatch(/evening<\/th>.*>0<.*>—<.*>—<.*>no users</s)
  expect(html).not.toContain('0 % to 100 %')
})

it('a disagreement that rolls back is not said to be decided by an approver', async () => {
  const evidence = {
    measure: 'decisions' as const,
    all: { name: 'all requests', distances: [9, 1] },
    slices: [],
    changes: [],
  }
  const disagreement = reportDisagreement(evidence, { max: 0.2, action: 'rollback' }, 0.002)
  const html = String(await AnswersSection({ evidence: { disagreement } }))
  expect(html).toContain('The release rolls back above 20 %')
  expect(html).not.toContain('An approver')
})

it('the shares of several numbers count users by range', async () => {
  const names = ['near below 1', 'near from 1', 'far below 9', 'far from 9']
  const answers = { names, canary: [50, 50, 90, 10], control: [400, 600, 500, 500], perKey: 2 }
  const html = String(await AnswersSection({ evidence: { answers } }))
  expect(html).toMatch(/near below 1.*50 % \(50\).*40 % \(400\).*far below 9.*90 %.*50 %/s)
})

it('the approver sees what users did, by metric', async () => {
  const html = String(await AnswersSection({ evidence: { business } }))
  expect(html).toMatch(/What users did.*revenue.*&lt;purchase&gt;.*2\.5.*3\.125.*−20 %.*10,000.*proven/s)
  const open = [{ ...business[0]!, means: null, gain: null, worseLogE: 0 }]
  expect(String(await AnswersSection({ evidence: { business: open } }))).toMatch(/—.*not proven/s)
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

it('the approver sees the measurements of other systems, and the errors of a source', async () => {
  const means = { canary: 0.4, control: 0.1 }
  const row = { name: 'refused', source: 'prometheus', limit: null, windows: 1_200, means, unread: 0 }
  const external = [{ ...row, worseLogE: 7, threshold: 6.908, failed: 3, problem: '<timeout>' }]
  const html = String(await AnswersSection({ evidence: { external } }))
  expect(html).toMatch(
    /What other systems measured.*refused.*prometheus.*0\.4.*0\.1.*1,200.*proven.*&lt;timeout&gt;/s,
  )
})
