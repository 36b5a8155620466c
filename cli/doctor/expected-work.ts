/** Checks the parts that must always run: permanent workflows, schedules, workflow tasks and worker processes. */
import { firstNames } from '../../domain/errors.ts'
import { Client, Connection } from '@temporalio/client'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { findParted, readExpectedWork, runPrefixes } from '../../store/maintenance/expected-work.ts'
import { listHeartbeats, silentWorkers, silentMs } from '../../store/maintenance/worker-heartbeats.ts'
import { openStore } from '../../store/postgres.ts'
import {
  describeRunIn,
  findBlocked,
  findMissingWorkflows,
  inspectSchedules,
  listOpenExecutions,
} from '../../workflows/client/inspect.ts'
import { schedulesOf } from '../../workflows/client/schedules.ts'
import { permanentWorkflows } from '../../workflows/client/permanent-workflows.ts'
import type { Config } from '../../temporal.config.ts'
import { connectionOf } from '../client/temporal-connection.ts'
import { broken, ok, warning, type Finding } from './finding.ts'
import { noTrainer, pollersOf } from '../../workflows/client/pollers.ts'
import { dataConverterOf } from '../../workflows/client/payload-codec.ts'

const askMs = 10_000
const maxNamed = 5
const partedMs = 30_000

/** Reads from the database at `databaseUrl` which parts must run. Throws when Postgres or Temporal does not respond. */
export async function checkExpectedWork(
  { temporal, taskQueues }: Pick<Config, 'temporal' | 'taskQueues'>,
  databaseUrl: string,
): Promise<Finding[]> {
  const store = openStore(databaseUrl, { name: 'tenure doctor', max: 1 })
  const connection = await Connection.connect({ ...connectionOf(temporal), connectTimeout: askMs })
  try {
    const { models, removed, ...expected } = await readExpectedWork(store)
    const heartbeats = await listHeartbeats(store)
    const client = new Client({
      connection,
      namespace: temporal.namespace,
      dataConverter: dataConverterOf(temporal),
    })
    const scheduled = models.filter(({ name }) => !removed.includes(name))
    const queue = taskQueues.control
    const listed = await listOpenExecutions(client, queue, runPrefixes)
    const open = listed.filter(({ taskQueue }) => taskQueue === queue).map(({ workflowId }) => workflowId)
    const workflows = permanentWorkflows({ ...expected, models: models.map(({ name }) => name) })
    const found = {
      open: open.length,
      workflows: await findMissingWorkflows(client, workflows, open),
      schedules: await inspectSchedules(client, schedulesOf({ ...expected, models: scheduled }, queue)),
      blocked: await findBlocked(client, open),
      parted: await findParted(store, {
        open: listed,
        taskQueue: queue,
        describe: describeRunIn(client.workflowService, temporal.namespace),
      }),
      unpolled: await findUnpolled(connection, temporal.namespace, scheduled),
    }
    return findingsOfExpectedWork({ ...found, heartbeats })
  } finally {
    await connection.close()
    await store.close()
  }
}

/** Returns the task queues of model files that no worker polls, each with its models. */
async function findUnpolled(
  connection: Connection,
  namespace: string,
  models: readonly ModelDefinition[],
): Promise<Found['unpolled']> {
  const queues = new Map<string, string[]>()
  for (const { name, trainer } of models)
    if (trainer?.kind === 'queue') queues.set(trainer.queue, [...(queues.get(trainer.queue) ?? []), name])
  const unpolled = []
  for (const [queue, waiting] of queues)
    if ((await pollersOf(connection, { namespace, queue, kind: 'activities' })) === 0)
      unpolled.push({ queue, models: waiting })
  return unpolled
}

interface Found {
  /** The number of open workflows. */
  open: number
  workflows: { workflowId: string }[]
  schedules: { missing: { scheduleId: string }[]; paused: { scheduleId: string; note: string }[] }
  blocked: { workflowId: string; attempts: number; cause: string }[]
  parted: Awaited<ReturnType<typeof findParted>>
  unpolled: { queue: string; models: string[] }[]
  heartbeats: Parameters<typeof silentWorkers>[0]
}

export function findingsOfExpectedWork({
  open,
  workflows,
  schedules,
  blocked,
  parted,
  unpolled,
  heartbeats,
}: Found): Finding[] {
  const missing = [
    ...workflows.map(({ workflowId }) => `workflow ${workflowId}`),
    ...schedules.missing.map(({ scheduleId }) => `schedule ${scheduleId}`),
  ]
  const findings: Finding[] = []
  if (missing.length > 0)
    findings.push(
      broken(
        'what must run',
        `missing: ${named(missing)}`,
        'Wait a minute: a control worker starts them again. If they stay missing, run `tenure models sync`.',
      ),
    )
  for (const { scheduleId, note } of schedules.paused)
    findings.push(
      warning(
        'what must run',
        `the schedule ${scheduleId} is paused (${note || 'no note'})`,
        `Resume it: temporal schedule toggle --schedule-id ${scheduleId} --unpause --reason "…"`,
      ),
    )
  for (const { workflowId, attempts, cause } of blocked)
    findings.push(
      broken(
        'what must run',
        `the workflow ${workflowId} is blocked: its task has failed ${attempts} times (${cause})`,
        `Start a worker of the build that it began with, or end it: temporal workflow terminate --workflow-id ${workflowId} --reason "…". See docs/runbooks/workflow-blocked.md.`,
      ),
    )
  const partedRemedy =
    'Wait some minutes: a control worker ends it and raises an alert. See docs/runbooks/workflow-orphaned.md.'
  for (const { kind, id, workflowId } of parted.rows)
    findings.push(
      warning(
        'what must run',
        `the ${kind} ${id} is open, and its workflow ${workflowId} does not run`,
        partedRemedy,
      ),
    )
  for (const { workflowId, row, startedMs } of parted.runs) {
    const sinceMs = Math.max(startedMs, Date.parse(row?.endedAt ?? '') || 0)
    // It may be about to open its row, or to end after it.
    if (Date.now() - sinceMs < partedMs) continue
    const without =
      row === undefined ? 'has no row' : `runs although the row of the ${row.kind} ${row.id} has ended`
    findings.push(warning('what must run', `the workflow ${workflowId} ${without}`, partedRemedy))
  }
  for (const { queue, models } of unpolled) {
    const { found, remedy } = noTrainer(queue, named(models))
    findings.push(warning('workers', found, remedy))
  }
  for (const { kind, process, ageMs, isLast } of silentWorkers(heartbeats)) {
    const silence = `sent a heartbeat for ${Math.round(ageMs / 1_000)} s (limit ${silentMs / 1_000} s)`
    findings.push(
      (isLast ? broken : warning)(
        'workers',
        isLast
          ? `no ${kind} worker has ${silence}; the last one was ${process}`
          : `the ${kind} worker ${process} has not ${silence}, others have`,
        'End that process, if it still exists; `tenure up` starts another one.',
      ),
    )
  }
  return findings.length > 0 ? findings : [ok('what must run', `all of it runs (open workflows: ${open})`)]
}

const named = (all: readonly string[]): string => firstNames(all, maxNamed)
