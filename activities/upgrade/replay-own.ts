/** Replays the open and the last closed workflows of an installation with the workflow code of this build. */
import type { ReplayedOwn } from '../../domain/installation/checked-build.ts'
import { Worker, type NativeConnection, type ReplayHistoriesIterable } from '@temporalio/worker'
import { converterOf, withSettings } from '../worker/payload-options.ts'
import { workflowCode } from '../../cli/build/workflows.mjs'
import { checkout, type Config } from '../../temporal.config.ts'

/** All open workflows are replayed; of the closed ones, the last of each type. */
const maxOpen = 5_000
const maxClosedOfType = 20
const pageSize = 500

interface Execution {
  workflowId: string
  runId: string
  type: string
  isOpen: boolean
}

const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }

export async function replayOwn(
  connection: NativeConnection,
  config: Pick<Config, 'temporal' | 'taskQueues'>,
  code?: string,
): Promise<ReplayedOwn> {
  const { namespace } = config.temporal
  const executions = await listExecutions(connection, namespace, config.taskQueues.control)
  const byRun = new Map(executions.map((each) => [each.runId, each]))
  const bundle = { code: code ?? (await workflowCode(checkout, { logger: silent })) }
  const breaks: ReplayedOwn['breaks'] = []
  const results = Worker.runReplayHistories(
    { workflowBundle: withSettings(bundle, config.temporal), ...converterOf(config.temporal) },
    histories(connection, namespace, executions),
  )
  for await (const { workflowId, runId, error } of results)
    if (error !== undefined)
      breaks.push({
        workflowId,
        runId,
        isOpen: byRun.get(runId)?.isOpen === true,
        problem: error.message.split('\n')[0] ?? '',
      })
  const open = executions.filter(({ isOpen }) => isOpen).length
  return { open, closed: executions.length - open, breaks }
}

async function listExecutions(
  { workflowService }: NativeConnection,
  namespace: string,
  taskQueue: string,
): Promise<Execution[]> {
  const list = async (query: string, most: number): Promise<Execution[]> => {
    const found: Execution[] = []
    let nextPageToken: Uint8Array | undefined
    do {
      const page = await workflowService.listWorkflowExecutions({ namespace, query, pageSize, nextPageToken })
      for (const { execution, type, closeTime } of page.executions ?? [])
        found.push({
          workflowId: execution?.workflowId ?? '',
          runId: execution?.runId ?? '',
          type: type?.name ?? '',
          isOpen: closeTime == null,
        })
      nextPageToken = page.nextPageToken ?? undefined
    } while (nextPageToken !== undefined && nextPageToken.length > 0 && found.length < most)
    return found
  }
  const mine = `TaskQueue = "${taskQueue}"`
  const open = await list(`${mine} and ExecutionStatus = "Running"`, maxOpen)
  // A workflow that failed or was ended by hand says nothing about the code.
  const closed = await list(`${mine} and ExecutionStatus in ("Completed", "ContinuedAsNew")`, pageSize)
  const perType = new Map<string, number>()
  const last = closed.filter(({ type }) => {
    const count = (perType.get(type) ?? 0) + 1
    perType.set(type, count)
    return count <= maxClosedOfType
  })
  return [...open, ...last]
}

async function* histories(
  { workflowService }: NativeConnection,
  namespace: string,
  executions: readonly Execution[],
): ReplayHistoriesIterable {
  for (const { workflowId, runId } of executions) {
    const events = []
    let nextPageToken: Uint8Array | undefined
    do {
      const page = await workflowService.getWorkflowExecutionHistory({
        namespace,
        execution: { workflowId, runId },
        nextPageToken,
      })
      events.push(...(page.history?.events ?? []))
      nextPageToken = page.nextPageToken ?? undefined
    } while (nextPageToken !== undefined && nextPageToken.length > 0)
    yield { workflowId, history: { events } }
  }
}
