/** Tests the first words of a release page in each state of a release, and that a state without a verdict says nothing calm. */
import { expect, it } from 'vitest'
import type { ReleaseSubject } from '../../../../api/dashboard/pages/release/load.ts'
import { sentenceOf, verdictLine, VerdictSection } from '../../../../api/dashboard/pages/release/verdict.tsx'
import { lostBasis } from '../../../../domain/release/approval.ts'
import type { ReleaseState } from '../../../../domain/release/state.ts'
import type { Candidate } from '../../../../store/dashboard/release-detail.ts'
import type { Role } from '../../../../domain/roles.ts'
import { armTotal, releaseTime, subjectOf } from '../../../support/dashboard/release-subject.ts'
import {
  advanceAll,
  commandEvent,
  opened,
  probated,
  rolledBackEvent,
  rollingBackState,
  routedCanary,
  stateAt,
  stepEvents,
  undecided,
  waiting,
} from '../../../support/release/releases.ts'

const champion = { version: 'm_v1.0.0' } as ReleaseSubject['champion']
const candidateOf = (verdict: string, compression?: object) =>
  ({
    report: {
      verdict,
      metrics: [],
      slices: [],
      policy: { primary: 'auc' },
      reasons: [{ message: 'few rows' }],
      compression,
    },
  }) as unknown as Candidate
const { baseline: _baseline, ...first } = waiting
const canary = { ...routedCanary, stageIndex: 0 }
const verdictOf = (kind: string, code: string) =>
  [
    {
      id: 1,
      at: releaseTime(20),
      stage: canary.stage,
      stageIndex: 0,
      kind,
      reasons: [{ code, message: code, values: {} }],
      statistics: {},
    },
  ] as unknown as ReleaseSubject['verdicts']
const lost = lostBasis(waiting, { champion: 'm_v2.0.0', artifact: 'a', evaluation: 'e', withdrawn: false })!
const superseded: ReleaseState = { ...waiting, stage: 'ended', outcome: 'superseded', ...lost }

const firstWords: [string, RegExp, string, ReleaseState, Partial<ReleaseSubject>?][] = [
  ['qualifies', /^Qualifying: better than v1\.0\.0$/, 'good', opened, { candidate: candidateOf('better') }],
  [
    'waits',
    /^Awaiting approval: better than v1\.0\.0$/,
    'good',
    waiting,
    { candidate: candidateOf('better') },
  ],
  [
    'answers like its parent',
    /^Awaiting approval: no regression against v1\.0\.0, proven to answer like its parent v0\.9\.0$/,
    'good',
    waiting,
    { candidate: candidateOf('not_worse', { version: 'm_v0.9.0', fidelity: { verdict: 'equal' } }) },
  ],
  [
    'is as good',
    /^Awaiting approval: no regression against v1\.0\.0$/,
    'good',
    waiting,
    { candidate: candidateOf('not_worse') },
  ],
  [
    'has too few rows',
    /^Awaiting approval: no verdict against v1\.0\.0: few rows$/,
    'quiet',
    waiting,
    { candidate: candidateOf('insufficient') },
  ],
  [
    'is the first',
    /^Awaiting approval: first version passed/,
    'good',
    first,
    { candidate: candidateOf('better'), champion: undefined },
  ],
  ['has no evaluation', /^Awaiting approval: no evaluation$/, 'quiet', waiting],
  [
    'has another champion',
    /^Cannot be approved any more: m_v2\.0\.0 is champion now, not m_v1\.0\.0$/,
    'warn',
    waiting,
    { champion: { version: 'm_v2.0.0' } as ReleaseSubject['champion'] },
  ],
  ['ended for another champion', /^Cannot be approved any more: Champion changed: /, 'warn', superseded],
  ['begins a stage', /^Collecting evidence: no verdict in this stage yet$/, 'quiet', canary],
  [
    'has no traffic',
    /^No requests yet\. Rolls back in 1 s$/,
    'warn',
    canary,
    { verdicts: verdictOf('no_data', 'no_traffic') },
  ],
  [
    'counts',
    /^No regression so far$/,
    'quiet',
    canary,
    { verdicts: verdictOf('inconclusive', 'minimum_time') },
  ],
  [
    'is not watched',
    /^Not watched for 70 s: candidate gets no traffic, champion serves$/,
    'warn',
    canary,
    { problem: 'Not watched for 70 s: candidate gets no traffic, champion serves' },
  ],
  ['asks', /^Decision needed: it is inconclusive at the deadline$/, 'warn', undecided],
  [
    'was rolled back',
    /^Rolled back: /,
    'bad',
    advanceAll(rollingBackState, rolledBackEvent(false), stepEvents.closed),
  ],
  [
    'was rolled back by a user',
    /^Rolled back by ada: because$/,
    'bad',
    advanceAll(canary, commandEvent('rollback', 'ada'), rolledBackEvent(false), stepEvents.closed),
  ],
]

it.each(firstWords)('a release that %s says so first', (_name, words, tone, state, more) => {
  const line = verdictLine(subjectOf(state, { champion, ...more }))
  expect(sentenceOf(line)).toMatch(words)
  expect(line.tone).toBe(tone)
})

it.each(Object.entries(stateAt))(
  'the first sentence of every stage names no code and is not empty: %s',
  (_stage, state) => {
    const sentence = sentenceOf(verdictLine(subjectOf(state, { champion })))
    expect(sentence).toMatch(/^[A-Z0-9]/)
    expect(sentence).not.toMatch(/_(?!v\d)|undefined|: $/)
  },
)

const section = async (subject: ReleaseSubject, role: Role = 'operator') =>
  String(await VerdictSection({ subject, actor: { id: 'k', name: 'olga', role } }))

it('a release that cannot be approved any more offers a retraining to those who may start one', async () => {
  const changed = subjectOf(waiting, { champion: { version: 'm_v2.0.0' } as ReleaseSubject['champion'] })
  for (const subject of [changed, subjectOf(superseded)]) {
    expect(await section(subject)).toContain('href="/models/m/retrain"')
    expect(await section(subject, 'viewer')).not.toContain('/retrain')
    expect(await section(subject)).not.toContain('Needs 2 approvals')
  }
  expect(await section(subjectOf(waiting, { champion }))).not.toContain('/retrain')
})

it('a rollback says when its failures began, and what is still wrong', async () => {
  const state = advanceAll(rollingBackState, rolledBackEvent(false), stepEvents.closed)
  const bad = { ...armTotal(4, state.version, 'canary', 35, 12), firstBadAt: '2026-11-21T06:14:07.000Z' }
  const shadowed = { ...armTotal(3, state.version, 'shadow', 35, 12), firstBadAt: '2026-11-21T06:14:01.000Z' }
  const whole = await section(subjectOf(state, { arms: [shadowed, bad] }))
  expect(whole).toMatch(/first failure <time datetime="2026-11-21T06:14:07.000Z"/)
  expect(whole).not.toContain('still wrong')
  const cut = { ...state, rollbackResult: { ...state.rollbackResult!, cutOff: ['replica r9 has no lease'] } }
  expect(await section(subjectOf(cut))).toMatch(/still wrong<\/span> replica r9 has no lease/)
})

it('a release whose artifact was rolled back before says so before its approval', async () => {
  const candidate = {
    ...candidateOf('better'),
    rolledBackTwin: { version: 'm_v0.9.0', at: releaseTime(-600) },
  }
  expect(await section(subjectOf(waiting, { champion, candidate }))).toMatch(
    /same artifact as m_v0\.9\.0, rolled back/,
  )
  expect(await section(subjectOf(probated, { champion, candidate: candidateOf('better') }))).not.toContain(
    'same artifact',
  )
})

it('the twin of an artifact that was rolled back is another version, and not the one that is being rolled back', async () => {
  const { version } = waiting
  const twin = (of: string) =>
    section(
      subjectOf(waiting, {
        champion,
        candidate: { rolledBackTwin: { version: of, at: releaseTime(0) } } as ReleaseSubject['candidate'],
      }),
    )
  expect(await twin(`${version}-other`)).toContain('same artifact as')
  expect(await twin(version)).not.toContain('same artifact as')
})
