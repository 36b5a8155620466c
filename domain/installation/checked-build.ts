/** Defines what a check of a new build against a running installation has found. */

export interface CheckedBuild {
  replayed: ReplayedOwn
  judged: JudgedAgain
  /** The versions that replicas load. */
  versions: OpenedVersions
  /** The last versions, evaluated again by the gate of the build. */
  gates: VerdictsAgain
  /** The last windows of drift. */
  drift: VerdictsAgain
}

/** The workflows of the installation, replayed by the code of the build. */
export interface ReplayedOwn {
  open: number
  closed: number
  /** What would be blocked or would decide otherwise. */
  breaks: { workflowId: string; runId: string; isOpen: boolean; problem: string }[]
}

/** The versions that replicas load, loaded by the build with their golden rows. */
export interface OpenedVersions {
  opened: number
  /** Whose files or keys this machine does not have. */
  notComparable: string[]
  refused: { version: string; problem: string }[]
}

/** Verdicts on stored evidence, given again. */
export interface VerdictsAgain {
  judged: number
  /** Whose evidence is no longer there, or no longer that of the verdict. */
  notComparable: string[]
  differs: { what: string; before: string; after: string }[]
}

/** The last releases, judged by the judges of the build. */
export interface JudgedAgain {
  releases: number
  /** Whose counters are no longer those of the decision: late rows came in, or old ones were deleted. */
  notComparable: string[]
  differs: { release: string; stage: string; decision: number; before: string; after: string }[]
}
