/** Builds what a release page reads, from a state. */
import type { ReleaseSubject } from '../../../api/dashboard/pages/release/load.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'

/** Returns a time of the release: its seconds since the start. */
export const releaseTime = (second: number): string =>
  new Date(Date.UTC(2026, 10, 21, 6, 14, second)).toISOString()

export const subjectOf = (state: ReleaseState, more: object = {}): ReleaseSubject =>
  ({
    release: {
      state,
      startedAt: releaseTime(0),
      ...(state.stage === 'ended' && {
        endedAt: releaseTime(40),
        outcome: state.outcome,
        reason: state.reason,
      }),
    },
    verdicts: [],
    commands: [],
    arms: [],
    watches: [],
    drift: [],
    answers: {},
    failed: [],
    behind: [],
    rate: 1,
    nowMs: Date.parse(releaseTime(30)),
    ...more,
  }) as unknown as ReleaseSubject

/** Counts the requests of one arm in one generation. */
export const armTotal = (generation: number, version: string, arm: string, requests: number, errors = 0) => ({
  generation,
  version,
  arm,
  requests,
  errors,
  invalid: 0,
  slow: 0,
})
