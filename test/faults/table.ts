/**
 * Every fault that the system promises to survive: what is asked, and the tests that show it on real processes. What has
 * no test and no reason says so; a promise that nobody has tried must not look like one that was kept.
 */

export type FaultNumber = `F${number}`

export interface Fault {
  number: FaultNumber
  fault: string
  /** The figure asked for. */
  asked: string
  /** Test files that show it, each with a pattern of the names of its tests when not all of them do. */
  shownBy?: readonly { file: string; tests?: string }[]
  /** What the tests show, where they do not write a figure of their own. */
  reached?: string
  /** What they show less of than asked. */
  weaker?: string
  /** Why it cannot be injected where this runs. */
  cannot?: string
}

export const faults: readonly Fault[] = []
