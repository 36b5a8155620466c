/** Builds what a release page reads, from a state. */
import type { Actor } from '../../../api/auth/authentication.ts'
import type { ReleaseSubject } from '../../../api/dashboard/pages/release/load.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'
import type { ArmTotal } from '../../../store/dashboard/release-detail.ts'

/** Returns a time of the release: its seconds since the start. */
export const releaseTime = (second: number): string =>
  new Date(Date.UTC(2026, 10, 21, 6, 14, second)).toISOString()

export function subjectOf(state: ReleaseState, more: Partial<ReleaseSubject> = {}): ReleaseSubject {
  const isEnded = state.stage === 'ended'
  return {
    release: {
      state,
      workflowId: `release/${state.model}`,
      runId: 'run',
      startedAt: releaseTime(0),
      updatedAt: releaseTime(isEnded ? 40 : 30),
      ...(isEnded && { endedAt: releaseTime(40), outcome: state.outcome, reason: state.reason }),
    },
    verdicts: [],
    commands: [],
    arms: [],
    watches: [],
    drift: [],
    answers: {},
    failed: [],
    behind: [],
    ...(!isEnded && { rate: { perSecond: 1, spanMs: 360_000 } }),
    nowMs: Date.parse(releaseTime(30)),
    ...more,
  }
}

/** Counts the requests of one arm in one generation. */
export const armTotal = (
  generation: number,
  version: string,
  arm: ArmTotal['arm'],
  requests: number,
  errors = 0,
): ArmTotal => ({ generation, version, arm, requests, errors, invalid: 0, slow95: 2, slow99: 1 })

export const viewer: Actor = { id: 'key-of-vera', name: 'vera', role: 'viewer' }
