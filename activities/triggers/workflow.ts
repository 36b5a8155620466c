/**
 * Checks for completed runs of an upstream workflow. Temporal lists a run some time after its end, so the periods of two checks overlap.
 */
import { Context } from '@temporalio/activity'
import type { WorkflowSensor } from '../../domain/triggers/trigger.ts'
import type { Look } from './sensor.ts'

interface SeenRuns {
  /** ISO 8601: the last end. */
  after: string
  /** The runs that ended in the overlap before it. */
  runs: string[]
}

/** How late a run may be listed, compared with another one. */
const overlapMs = 600_000
const pageSize = 1_000

export const lookForRuns: Look<WorkflowSensor, SeenRuns> = async (_, sensor, before, starts) => {
  const { client, info } = Context.current()
  const own = info.workflowNamespace
  const { type, id, namespace = own } = sensor
  const afterMs = before === undefined ? Date.now() : Date.parse(before.after)
  const what = type === undefined ? `WorkflowId = "${id}"` : `WorkflowType = "${type}"`
  const since = new Date(afterMs - overlapMs).toISOString()
  const { executions } = await client.workflowService.listWorkflowExecutions({
    namespace,
    query: `${what} and ExecutionStatus = "Completed" and CloseTime >= "${since}"`,
    pageSize,
  })
  // A run that this trigger has started must not start the next one.
  const others = (executions ?? []).filter(
    ({ execution }) => namespace !== own || execution?.workflowId !== starts,
  )
  const ended = others.map(({ execution, closeTime }) => ({
    workflowId: execution?.workflowId ?? '',
    runId: execution?.runId ?? '',
    atMs: Number(closeTime?.seconds ?? 0) * 1_000 + Math.floor(Number(closeTime?.nanos ?? 0) / 1e6),
  }))
  const lastMs = Math.max(afterMs, ...ended.map(({ atMs }) => atMs))
  const runs = ended.filter(({ atMs }) => atMs >= lastMs - overlapMs).map(({ runId }) => runId)
  const fresh = before === undefined ? [] : ended.filter(({ runId }) => !before.runs.includes(runId))
  const seen =
    before !== undefined && fresh.length === 0 ? before : { after: new Date(lastMs).toISOString(), runs }
  const [last] = fresh.toSorted((one, other) => other.atMs - one.atMs)
  if (last === undefined) return { seen }
  const { workflowId, runId } = last
  return {
    seen,
    news: { message: `the workflow ${workflowId} has completed`, evidence: { workflowId, runId } },
  }
}
