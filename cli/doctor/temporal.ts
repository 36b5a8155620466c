/** Checks Temporal: connection, namespace, search attributes, schedules and worker polls. */
import { Connection } from '@temporalio/client'
import { isError } from '../../domain/errors.ts'
import { requireReadablePayloads } from '../../workflows/client/payload-check.ts'
import { hasLiveWorker, type WorkerHeartbeat } from '../../store/maintenance/worker-heartbeats.ts'
import { allBusy, noWorker, pollersOf } from '../../workflows/client/pollers.ts'
import { searchAttributes, type Config } from '../../temporal.config.ts'
import { connectionOf } from '../client/temporal-connection.ts'
import { missingSearchAttributes } from '../sync/search-attributes.ts'
import { broken, ok, warning, type Finding } from './finding.ts'

const askMs = 5_000
/** The gRPC status code NOT_FOUND. */
const notFound = 5

export async function checkTemporal(
  { temporal, taskQueues }: Pick<Config, 'temporal' | 'taskQueues'>,
  { workersExpected, heartbeats = [] }: { workersExpected: boolean; heartbeats?: readonly WorkerHeartbeat[] },
): Promise<Finding[]> {
  const { address, namespace } = temporal
  let connection: Connection
  try {
    connection = await Connection.connect({ ...connectionOf(temporal), connectTimeout: askMs })
  } catch (error) {
    return [
      broken(
        'temporal',
        `Temporal does not respond at ${address} (${oneLine(error)})`,
        'Start it, correct TEMPORAL_ADDRESS, or unset it so that `tenure up` starts its own.',
      ),
    ]
  }
  const ask = <T>(work: () => Promise<T>): Promise<T> => connection.withDeadline(Date.now() + askMs, work)
  try {
    const missing = await ask(() => connection.workflowService.describeNamespace({ namespace })).then(
      () => undefined,
      (error: { code?: unknown }) => error,
    )
    if (missing !== undefined)
      return [
        missing.code === notFound
          ? broken(
              'temporal',
              `${address} has no namespace ${namespace}`,
              `Correct TEMPORAL_NAMESPACE, or run: temporal operator namespace create --namespace ${namespace}`,
            )
          : broken(
              'temporal',
              `access to ${namespace} at ${address} failed (${oneLine(missing)})`,
              'Check TEMPORAL_API_KEY and TEMPORAL_TLS_*.',
            ),
      ]
    const findings = [ok('temporal', `${address} responds, namespace ${namespace}`)]
    findings.push(await checkAttributes(connection, namespace, ask))
    findings.push(await checkPayloads(connection, { temporal, taskQueues }, ask))
    findings.push(
      await ask(() => listSchedules(connection, namespace)).then(findingOfSchedules, (error: unknown) =>
        warning('schedules', `not readable (${oneLine(error)})`, 'Run `tenure doctor` again in a moment.'),
      ),
    )
    for (const [name, queue, kind] of [
      ['control', taskQueues.control, 'workflows'],
      ['control', taskQueues.control, 'activities'],
      ['train', taskQueues.train, 'activities'],
    ] as const)
      findings.push(
        await ask(() => pollersOf(connection, { namespace, queue, kind })).then(
          (count) => {
            const isBusy = kind === 'activities' && hasLiveWorker(heartbeats, queue)
            return findingOfPollers({ name, queue, kind, count, isBusy, workersExpected })
          },
          (error: unknown) =>
            broken(
              'workers',
              `${queue} is not readable (${oneLine(error)})`,
              'Run `tenure doctor` again in a moment.',
            ),
        ),
      )
    return merged(findings)
  } finally {
    await connection.close()
  }
}

async function checkAttributes(
  connection: Connection,
  namespace: string,
  ask: <T>(work: () => Promise<T>) => Promise<T>,
): Promise<Finding> {
  try {
    const missing = await ask(() => missingSearchAttributes(connection, namespace))
    if (missing.length === 0) return ok('search attributes', searchAttributes.join(', '))
    return broken(
      'search attributes',
      `${namespace} lacks ${missing.join(', ')}, so workflows that set them would block`,
      `Run \`tenure up\`, or: ${missing.map((name) => `temporal operator search-attribute create --namespace ${namespace} --name ${name} --type Keyword`).join(' && ')}`,
    )
  } catch (error) {
    return warning(
      'search attributes',
      `not readable (${oneLine(error)})`,
      'Ask the operator of the cluster to create them.',
    )
  }
}

async function checkPayloads(
  { workflowService: service }: Connection,
  { temporal: { namespace, payloadKeys: keys = [] }, taskQueues }: Pick<Config, 'temporal' | 'taskQueues'>,
  ask: <T>(work: () => Promise<T>) => Promise<T>,
): Promise<Finding> {
  const check = { service, namespace, taskQueues: Object.values(taskQueues), keys }
  try {
    const read = await ask(() => requireReadablePayloads(check))
    return ok('payload keys', `${keys.length} given; open workflows read: ${read}`)
  } catch (error) {
    if (!isError(error, 'configuration_invalid'))
      return warning(
        'payload keys',
        `not checked (${oneLine(error)})`,
        'Run `tenure doctor` again in a moment.',
      )
    return broken(
      'payload keys',
      oneLine(error),
      'Give every machine the same TENURE_PAYLOAD_KEYS, with the keys of all open workflows: docs/how-to/machines/encrypt-temporal.md.',
    )
  }
}

interface Polled {
  name: 'control' | 'train'
  queue: string
  kind: 'workflows' | 'activities'
  count: number
  /** Whether its workers live without polling. */
  isBusy: boolean
  workersExpected: boolean
}

export function findingOfPollers({ name, queue, kind, count, isBusy, workersExpected }: Polled): Finding {
  const found = `${count} polling ${queue} for ${kind}`
  if (count > 0) return ok('workers', found)
  if (isBusy) return ok('workers', allBusy(queue))
  const { found: missing, remedy } = noWorker(name, { queue, kind })
  return workersExpected
    ? broken('workers', missing, remedy)
    : warning('workers', `${missing}; Tenure is not running`, remedy)
}

/** Joins the passed worker checks into one line. */
function merged(findings: readonly Finding[]): Finding[] {
  const well = findings.filter(({ check, state }) => check === 'workers' && state === 'ok')
  const rest = findings.filter((each) => !well.includes(each))
  return well.length === 0 ? rest : [...rest, ok('workers', well.map(({ found }) => found).join(', '))]
}

const oneLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String((error as { message?: unknown })?.message ?? error)).split(
    '\n',
  )[0] ?? ''

// Counts the skipped and missed runs of every schedule, because a skipped run leaves no other trace.

const maxSchedules = 200

export interface Scheduled {
  id: string
  begun: number
  /** Runs skipped because the previous run was still open. */
  overlapped: number
  /** Runs that an outage of Temporal put outside the catch-up window. */
  missed: number
}

export async function listSchedules(
  { workflowService }: Connection,
  namespace: string,
): Promise<Scheduled[]> {
  const { schedules } = await workflowService.listSchedules({ namespace, maximumPageSize: maxSchedules })
  const ids = (schedules ?? []).flatMap(({ scheduleId }) => scheduleId ?? []).sort()
  const described = ids.map(async (id) => {
    // The schedule may be deleted meanwhile.
    const found = await workflowService
      .describeSchedule({ namespace, scheduleId: id })
      .catch((error: { code?: unknown }) => {
        if (error.code === notFound) return undefined
        throw error
      })
    const { actionCount, overlapSkipped, missedCatchupWindow } = found?.info ?? {}
    const counts = [actionCount, overlapSkipped, missedCatchupWindow].map((count) => Number(count ?? 0))
    const [begun = 0, overlapped = 0, missed = 0] = counts
    return found === undefined ? [] : [{ id, begun, overlapped, missed }]
  })
  return (await Promise.all(described)).flat()
}

/** The gRPC status code NOT_FOUND. */

export function findingOfSchedules(schedules: readonly Scheduled[]): Finding {
  const skippedRuns = schedules.flatMap(({ id, begun, overlapped, missed }) => {
    const skipped = [
      ...(overlapped > 0 ? [`${overlapped} skipped while one ran`] : []),
      ...(missed > 0 ? [`${missed} missed while Temporal was down`] : []),
    ]
    return skipped.length === 0 ? [] : [`${id}: ${[`${begun} started`, ...skipped].join(', ')}`]
  })
  const found =
    skippedRuns.length === 0 ? `no skipped run (schedules: ${schedules.length})` : skippedRuns.join('; ')
  const crowded = schedules.filter(({ begun, overlapped }) => overlapped > begun).map(({ id }) => id)
  if (crowded.length === 0) return ok('schedules', found)
  return warning(
    'schedules',
    found,
    `Lengthen the interval of ${crowded.join(', ')} in the model file, or start more workers: a run takes longer than the interval.`,
  )
}
