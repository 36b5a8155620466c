/** Tests when a release that waits for approval can no longer be released, by what has changed since it opened. */
import { expect, it } from 'vitest'
import { lostBasis } from '../../../domain/release/approval.ts'
import type { ReleaseBasis } from '../../../domain/release/state.ts'
import { opened } from '../../support/release/releases.ts'

const basis: ReleaseBasis = {
  champion: opened.baseline,
  artifact: opened.digests.artifact,
  evaluation: opened.digests.evaluation,
  evaluatedAgainst: opened.baseline,
  withdrawn: false,
}

it.each<[string, Partial<ReleaseBasis>, object | undefined]>([
  ['nothing', {}, undefined],
  ['the evaluation of the version, which can be approved', { evaluation: 'other' }, undefined],
  [
    'the evaluation, which is gone',
    { evaluation: undefined },
    { reason: 'the evaluation of m_v1.1.0 has changed from e to none' },
  ],
  ['the artifact', { artifact: 'other' }, { reason: 'the artifact of m_v1.1.0 has changed from a to other' }],
  [
    'the champion',
    { champion: 'm_v2.0.0' },
    {
      reason:
        'Champion changed: the champion is now m_v2.0.0, the release was built on m_v1.0.0. Make another with `tenure retrain m`',
      championChanged: true,
    },
  ],
])('after a change of %s', (_what, change, lost) => {
  expect(lostBasis(opened, { ...basis, ...change })).toEqual(lost)
})
