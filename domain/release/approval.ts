/**
 * What an approval is worth when it is given: it belongs to the bytes, the evidence and the policy that stand at that moment.
 * An approval that outlived them would let a person answer for something that this person has never seen.
 */
import { basisIssues } from './basis.ts'
import type { ReleaseDigests, ReleaseState, ReleaseBasis, Statement } from './state.ts'
import { end } from './transitions.ts'

/** Whether a person is the one who has asked for the release: by the name and, since names are given anew, by the key. */
export const isRequester = (state: ReleaseState, { by, key }: Pick<Statement, 'by' | 'key'>): boolean =>
  by === state.requestedBy || (key !== undefined && key === state.requestedByKey)

/** Whether two statements come from one person. */
export const isSamePerson = (
  one: Pick<Statement, 'by' | 'key'>,
  other: Pick<Statement, 'by' | 'key'>,
): boolean => one.by === other.by || (one.key !== undefined && one.key === other.key)

/** The state on its present basis, and what has changed; undefined when nothing has changed. */
export function recheckBasis(
  state: ReleaseState,
  standing: ReleaseBasis | undefined,
  atMs: number,
): { state: ReleaseState; changed: string } | undefined {
  if (standing === undefined || state.stage !== 'awaiting_approval') return undefined
  const { version, baseline: champion, digests } = state
  const [issue] = basisIssues({ version, champion, ...digests }, standing)
  if (issue === undefined) return undefined
  const { kind, message } = issue
  if (kind === 'evaluation' && standing.evaluation !== undefined) {
    const evaluated: ReleaseDigests = { ...digests, evaluation: standing.evaluation }
    return {
      state: { ...voided(state, message), digests: evaluated },
      changed: `${message}; ${voidWords(state)}, review it and approve again`,
    }
  }
  // Another champion needs another evaluation, and that needs a release of its own.
  const remedy =
    kind === 'champion' || kind === 'comparison'
      ? ': evaluate it against the present champion and release it again'
      : ''
  const lost = `${message}${remedy}`
  return {
    state: end(voided(state, lost), atMs, 'superseded', lost),
    changed: `${lost}; ${voidWords(state)}`,
  }
}

const voidWords = ({ approvals }: ReleaseState): string =>
  approvals.length === 0
    ? 'no approval was given before'
    : `void: ${approvals.length} approval(s) by ${approvals.map(({ by }) => by).join(' and ')}`

/** The approvals that no longer count are kept beside those that do, with the reason. */
function voided(state: ReleaseState, why: string): ReleaseState {
  if (state.approvals.length === 0) return state
  return {
    ...state,
    approvals: [],
    voidedApprovals: [...(state.voidedApprovals ?? []), ...state.approvals.map((each) => ({ ...each, why }))],
  }
}

/** Takes back what this person has approved, when the same person denies it. */
export function withdrawn(state: ReleaseState, said: Statement): ReleaseState {
  const own = state.approvals.filter((each) => isSamePerson(each, said))
  if (own.length === 0) return state
  const why = `${said.by} has denied it since`
  return {
    ...state,
    approvals: state.approvals.filter((each) => !isSamePerson(each, said)),
    voidedApprovals: [...(state.voidedApprovals ?? []), ...own.map((each) => ({ ...each, why }))],
  }
}
