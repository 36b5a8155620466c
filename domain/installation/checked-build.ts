/** Defines what a check of a new build against a running installation has found. */

export interface CheckedBuild {
  replayed: ReplayedOwn
  judged: JudgedAgain
}

/** The workflows of the installation, replayed by the code of the build. */
export interface ReplayedOwn {
  open: number
  closed: number
  /** What would be blocked or would decide otherwise. */
  breaks: { workflowId: string; runId: string; isOpen: boolean; problem: string }[]
}

/** The last releases, judged by the judges of the build. */
export interface JudgedAgain {
  releases: number
  /** Whose counters are no longer those of the decision: late rows came in, or old ones were deleted. */
  notComparable: string[]
  differs: { release: string; stage: string; decision: number; before: string; after: string }[]
}
