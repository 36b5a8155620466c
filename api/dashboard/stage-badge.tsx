/**
 * Shows the stage of an open release with the share that its candidate serves now, and beside it what is wrong with it, so that no list says
 * what was only planned.
 */
import { servedBp, warningOf } from '../../domain/release/explain.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import type { Database } from '../../store/postgres.ts'
import { findRunning } from '../../store/release/decisions.ts'
import { readServedShares } from '../../store/serving/routing.ts'
import { Badge } from './components/elements.tsx'
import { stageText, stageTone } from './labels.ts'
import type { PageElement } from './page.ts'

/** What a release shows of its stage now. */
export interface StageNow {
  state: ReleaseState
  servedBp: number
  /** Why the candidate is not served or judged as its stage says, and what happens when. */
  warning?: string | undefined
}

/** Reads the stages of open releases with two statements, by release. */
export async function readStages(
  database: Database,
  states: readonly ReleaseState[],
): Promise<ReadonlyMap<string, StageNow>> {
  if (states.length === 0) return new Map()
  const [served, seen] = await Promise.all([
    readServedShares(
      database,
      states.map(({ model }) => model),
    ),
    findRunning(
      database,
      states.map(({ id }) => id),
    ),
  ])
  return new Map(
    states.map((state) => {
      const of = served.get(state.model)
      return [
        state.id,
        { state, servedBp: servedBp(state, of), warning: warningOf(state, of, seen.get(state.id)) },
      ]
    }),
  )
}

export const StageBadge = ({ state, servedBp: now, warning }: StageNow): PageElement =>
  warning === undefined ? (
    <Badge tone={stageTone(state)}>{stageText(state, now)}</Badge>
  ) : (
    <>
      <Badge tone="quiet">{stageText(state, now)}</Badge> <span class="small">{warning}</span>
    </>
  )
