/** Asks Temporal which open rows have a running workflow, so that an opening activity closes only the rows of ended runs. */
import { Context } from '@temporalio/activity'
import { describeRunIn } from '../../workflows/client/inspect.ts'

/** A row with the first run of its workflow. Ids derived from a run lack its hyphens. */
interface RowOfRun {
  workflowId: string
  runId: string
}

const bare = (runId: string): string => runId.replaceAll('-', '')

/**
 * The rows whose run has ended, for the activity that opens the next row. A stalled activity may resume after its own run has ended: it
 * then finds the open row of its successor, which stays. An ended run never resumes, so a late answer is still correct. A reset or continued
 * run still names the first run, which opened the row.
 */
export async function rowsOfEndedRuns<Row extends RowOfRun>(rows: readonly Row[]): Promise<Row[]> {
  if (rows.length === 0) return []
  const { client, info } = Context.current()
  const describe = describeRunIn(client.workflowService, info.workflowNamespace ?? '')
  const runs = await Promise.all(rows.map(({ workflowId }) => describe({ workflowId })))
  return rows.filter((row, index) => {
    const run = runs[index]
    return run?.running !== true || bare(run.firstRunId) !== bare(row.runId)
  })
}
