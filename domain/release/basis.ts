/** Compares what a release was built on with what stands now: champion, artifact, evaluation, and the champion of that evaluation. */
import type { ReleaseBasis } from './state.ts'

/** What a release expects. A digest that is left out is not compared. */
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
  const issues: BasisIssue[] = []
  if (found.champion !== expected.champion)
    issues.push({
      kind: 'champion',
      message: `the champion is now ${named(found.champion)}, the release was built on ${named(expected.champion)}`,
    })
  if (found.artifact === undefined)
    return [...issues, { kind: 'missing', message: `${version} is not registered` }]
  if (found.withdrawn) issues.push({ kind: 'withdrawn', message: `${version} has been withdrawn` })
  if (expected.artifact !== undefined && found.artifact !== expected.artifact)
    issues.push({
      kind: 'artifact',
      message: `the artifact of ${version} has changed from ${expected.artifact} to ${found.artifact}`,
    })
  if (found.evaluatedAgainst !== expected.champion)
    issues.push({
      kind: 'comparison',
      message: `${version} was compared with ${named(found.evaluatedAgainst)}, but ${named(expected.champion)} is champion`,
    })
  if (expected.evaluation !== undefined && found.evaluation !== expected.evaluation)
    issues.push({
      kind: 'evaluation',
      message: `the evaluation of ${version} has changed from ${expected.evaluation} to ${found.evaluation ?? 'none'}`,
    })
  return issues
}

const named = (version: string | undefined): string => version ?? 'no champion'
