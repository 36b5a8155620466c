/**
 * What an approval is worth when it is given: it belongs to the bytes, the evidence and the policy that stand at that moment.
 * An approval that outlived them would let a person answer for something that this person has never seen.
 */
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

/** The state on what stands now, and what has changed in words; nothing when all stands that it was built on. */
export function recheckBasis(
  state: ReleaseState,
  standing: ReleaseBasis | undefined,
  atMs: number,
): { state: ReleaseState; changed: string } | undefined {
  if (standing === undefined || state.stage !== 'awaiting_approval') return undefined
  const lost = basisLost(state, standing)
  if (lost !== undefined) {
    const why = `${lost}; ${voidWords(state)}`
    return { state: end(voided(state, lost), atMs, 'superseded', lost), changed: why }
  }
  const { evaluation } = standing
  if (evaluation === undefined || evaluation === state.digests.evaluation) return undefined
  const change = `the evaluation of ${state.version} has changed from ${state.digests.evaluation} to ${evaluation}`
  const digests: ReleaseDigests = { ...state.digests, evaluation }
  return {
    state: { ...voided(state, change), digests },
    changed: `${change}; ${voidWords(state)}, look at it and approve again`,
  }
}

/** Why the release can no longer be carried out, whoever approves; it takes an evaluation and a release of its own then. */
function basisLost({ version, baseline, digests }: ReleaseState, standing: ReleaseBasis): string | undefined {
  const { champion, artifact, evaluatedAgainst, withdrawn } = standing
  const again = 'evaluate it against the champion of now and release it again, then it can be approved again'
  if (champion !== baseline)
    return `the champion is ${champion ?? 'nobody'}, the release was built on ${baseline ?? 'nobody'}: ${again}`
  if (artifact === undefined || withdrawn) return `${version} has been withdrawn`
  if (artifact !== digests.artifact)
    return `the artifact of ${version} has changed from ${digests.artifact} to ${artifact}`
  if (evaluatedAgainst !== baseline)
    return `${version} was compared with ${evaluatedAgainst ?? 'no champion'} in the meantime: ${again}`
  return undefined
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
