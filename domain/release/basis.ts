/** Compares the basis of a release with the present: champion, artifact, evaluation, and the champion of that evaluation. */
import type { ReleaseBasis } from './state.ts'

/** The expected basis of a release. An absent digest is not compared. */
export interface ExpectedBasis {
  version: string
  /** Absent when the model is expected to have no champion. */
  champion?: string
  artifact?: string
  evaluation?: string
}

export interface BasisIssue {
  kind: 'champion' | 'missing' | 'withdrawn' | 'artifact' | 'comparison' | 'evaluation'
  message: string
}

/** Every difference, the most fundamental first. Empty when the release can continue. */
export function basisIssues(expected: ExpectedBasis, found: ReleaseBasis): BasisIssue[] {
  const { version } = expected
  const champion = named(expected.champion)
  const issues: BasisIssue[] = []
  const add = (kind: BasisIssue['kind'], message: string) => issues.push({ kind, message })
  if (found.champion !== expected.champion) add('champion', championIssue(expected, found))
  if (found.artifact === undefined) {
    add('missing', `${version} is not registered`)
    return issues
  }
  const changed = (what: 'artifact' | 'evaluation') => {
    if (expected[what] !== undefined && found[what] !== expected[what])
      add(what, `the ${what} of ${version} has changed from ${expected[what]} to ${found[what] ?? 'none'}`)
  }
  if (found.withdrawn) add('withdrawn', `${version} has been rolled back`)
  changed('artifact')
  if (found.evaluatedAgainst !== expected.champion)
    add(
      'comparison',
      `${version} was compared with ${named(found.evaluatedAgainst)}, but ${champion} is champion`,
    )
  changed('evaluation')
  return issues
}

function championIssue({ champion: expected }: ExpectedBasis, { champion, rollback }: ReleaseBasis): string {
  if (rollback === undefined || rollback.from !== expected)
    return `the champion is now ${named(champion)}, the release was built on ${named(expected)}`
  const { by, reason } = rollback
  return `${expected} was rolled back to ${named(champion)} by ${by}${reason === '' ? '' : `: ${reason}`}`
}

const named = (version: string | undefined): string => version ?? 'no champion'
