/** Checks what may fire a trigger: files, partitions of a batch, a watermark of a table, and ended workflows. */
import { stat, access } from 'node:fs/promises'
import { join } from 'node:path'
import { Context } from '@temporalio/activity'
import {
  type TriggerFiring,
  type FileSensor,
  type PromotionSensor,
  partitionAlertKey,
  triggerAlertKey,
  isFiniteMark,
  isLaterMark,
  type WatermarkSensor,
  type WorkflowSensor,
} from '../../domain/triggers/trigger.ts'
import type { Deps } from '../deps.ts'
import { DomainError, isError, reasonOf } from '../../domain/errors.ts'
import { splitPattern } from '../../domain/addresses/source-address.ts'
import { projectFolder } from '../../temporal.config.ts'
import { listMatching } from '../data/matching-files.ts'
import { counted } from '../../domain/figures.ts'
import { batchKey } from '../../domain/model/batch-spec.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import {
  endedDays,
  isFired,
  markerOf,
  partitionNameOf,
  partitionOf,
  valuesOfFiring,
  withdrawnPartition,
  type BatchDefinition,
  type FiredBatch,
} from '../../domain/triggers/partitions.ts'
import { readNow } from '../../store/database/clock.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import { findChampion, listChampionHistory } from '../../store/registry/champions.ts'
import { getVersion } from '../../store/registry/versions.ts'
import {
  listLastBatchFirings,
  listWaitingBatchFirings,
  insertPartition,
  listPartitions,
  listWaitingPartitions,
  type BatchPartition,
  type PartitionState,
} from '../../store/triggers/firings.ts'
import { reportUnreadable, resolveIfOpen, type OpenTriggerAlerts } from './report.ts'
import { quotedIdentifier } from '../../domain/sql-text.ts'
import { queryReader } from '../../store/integrations/metric-sources.ts'

/** The result of a check. */
export interface Sighting<Seen> {
  /** The new position. */
  seen: Seen
  /** Why the trigger fires; absent when nothing is new. */
  news?: Pick<TriggerFiring, 'message' | 'evidence'> & Partial<Pick<TriggerFiring, 'id' | 'compression'>>
}

/**
 * Checks once. The first check has no position and reports no news: existing data is the starting point. Throws with the remedy in its
 * message when it cannot check. `starts`: the id of the workflow that the trigger of the model starts.
 */
export type Look<Kind, Seen> = (
  deps: Deps,
  sensor: Kind,
  before?: Seen,
  of?: { model: string; starts?: string },
) => Promise<Sighting<Seen>>

// Checks for new and changed files of the project that match a pattern. When the folder is missing, the position stays.

/** Path → size and modification time. */
type SeenFiles = Record<string, string>

const maxFiles = 10_000
/** The most paths that a message names. */
const maxNamed = 3

export const lookForFiles: Look<FileSensor, SeenFiles> = async (_, { glob }, before) => {
  const found = await filesOf(glob)
  if (before === undefined) return { seen: found }
  const fresh = Object.keys(found).filter((path) => before[path] !== found[path])
  // A file that disappears and comes back unchanged, as on a remounted share, is not new.
  const absent = Object.entries(before).filter(([path]) => found[path] === undefined)
  const seen = { ...Object.fromEntries(absent.slice(-maxFiles)), ...found }
  if (fresh.length === 0) return { seen }
  const named = `${fresh.slice(0, maxNamed).join(', ')}${fresh.length > maxNamed ? ', …' : ''}`
  const message = fresh.length === 1 ? `${named} is new` : `${fresh.length} files are new: ${named}`
  return { seen, news: { message, evidence: { files: fresh.length, file: fresh[0] ?? null } } }
}

async function filesOf(glob: string): Promise<SeenFiles> {
  const found = await listMatching(glob, maxFiles).catch((error: unknown) => {
    throw isError(error) ? error : asAway(splitPattern(glob).folder, error)
  })
  const paths = found.map(({ path }) => path)
  const marks = await Promise.all(paths.map(async (path) => [path, await markOf(path)] as const))
  return Object.fromEntries(marks.flatMap(([path, mark]) => (mark === undefined ? [] : [[path, mark]])))
}

/** Undefined for a file that was removed in the meantime. */
async function markOf(path: string): Promise<string | undefined> {
  try {
    const { size, mtimeMs } = await stat(join(projectFolder, path))
    return `${size}/${Math.floor(mtimeMs)}`
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw asAway(path, error)
  }
}

function asAway(path: string, error: unknown): DomainError {
  const { code, message } = error as NodeJS.ErrnoException
  const why = code === 'ENOENT' ? 'there is no such folder' : message
  return new DomainError(
    'source_unreadable',
    `${path}: ${why}: create it, mount the share, or correct the pattern in the model file`,
  )
}

// Requests the batches of a model file: each day once when its data is complete, each firing of a trigger once, and both again when the
// version that scored them was rolled back. The attempt number is the key in the database, so concurrent checks request one batch.

/** The most batches of a model that wait for their start, so that a long backfill leaves room for other work. */
const maxWaiting = 4
/** The most days that a message names. */

/** The ids of the batches to start. Without a champion none starts. */
export async function askForPartitions(
  deps: Deps,
  { name: model, batches = [] }: Pick<ModelDefinition, 'name' | 'batches'>,
  alerts: OpenTriggerAlerts,
): Promise<string[]> {
  const { store } = deps
  if (batches.length === 0) return []
  const champion = await findChampion(store, model)
  if (champion === undefined) return []
  const waitingFirings = await listWaitingBatchFirings(store, { model, batches: firedOnce(batches) })
  const firedAt = new Map(
    (await listLastBatchFirings(store, model)).map((each) => [each.batch, each.firedAt]),
  )
  for (const batch of batches) {
    const trigger = batch.name
    const firings = waitingFirings.filter((each) => each.batch === batch.name)
    const lastFiredAt = firedAt.get(batch.name)
    try {
      await askFor(deps, { model, batch, champion: champion.version, alerts, firings, lastFiredAt })
      await resolveIfOpen(deps, alerts, triggerAlertKey(model, trigger))
    } catch (error) {
      await reportUnreadable(deps, alerts, { model, trigger, problem: reasonOf(error) })
    }
  }
  const waiting = await listWaitingPartitions(store, { model, limit: maxWaiting })
  return waiting.map(({ id }) => id)
}

/** The batches without days: each firing requests one partition. */
export const firedOnce = (batches: readonly BatchDefinition[]): string[] =>
  batches.filter(({ partition }) => partition === undefined).map(({ name }) => name)

interface Asked {
  model: string
  batch: BatchDefinition
  champion: string
  alerts: OpenTriggerAlerts
  /** The firings that have not requested a partition yet. */
  firings: readonly FiredBatch[]
  lastFiredAt?: string
}

async function askFor(deps: Deps, asked: Asked): Promise<void> {
  const { store, log } = deps
  const { model, batch, champion, alerts, firings, lastFiredAt } = asked
  const known = await listPartitions(store, { model, batch: batch.name })
  await alertFailed(deps, { model, batch: batch.name, known, alerts })
  const isOpen = ({ status }: PartitionState) => status === undefined || status === 'running'
  let open = known.filter(isOpen).length
  const ask = async (next: BatchPartition): Promise<void> => {
    if (open >= maxWaiting) return
    open++
    if (await insertPartition(store, next))
      log.info({ batch: next.id, model, reason: next.reason }, 'partition requested')
  }
  for (const each of known)
    if (each.status === 'done' && each.withdrawn && each.version !== champion)
      await ask(withdrawnPartition(model, batch, each))
  const last = new Map(known.map((each) => [each.partition, each]))
  for (const firing of firings) {
    const values = valuesOfFiring(batch, firing)
    const before = last.get(partitionNameOf(values))
    // Two batches at the same time would write to the same output.
    if (before !== undefined && isOpen(before)) continue
    const attempt = (before?.attempt ?? 0) + 1
    await ask(partitionOf({ model, batch, values, attempt, reason: 'fired', firing: firing.id }))
    last.set(partitionNameOf(values), { ...before, status: 'running' } as PartitionState)
  }
  const { partition } = batch
  if (partition === undefined) return
  if (isFired(batch) && lastFiredAt === undefined) return
  const untilMs = isFired(batch) ? Date.parse(lastFiredAt!) : await readNow(store)
  for (const day of endedDays(partition, untilMs).filter((each) => !last.has(each))) {
    if (open >= maxWaiting) return
    if (await isComplete(deps, batch, day))
      await ask(partitionOf({ model, batch, values: { date: day }, attempt: 1, reason: 'due' }))
  }
}

/** Whether the file of the day exists, on this machine or in the object store. */
async function isComplete(
  { config, artifacts }: Deps,
  batch: BatchDefinition,
  day: string,
): Promise<boolean> {
  const marker = markerOf(batch, day)
  if (marker === undefined) return true
  const isHere = await access(join(config.batchDir, marker)).then(
    () => true,
    () => false,
  )
  return isHere || (await artifacts.objects?.find(batchKey(marker))) !== undefined
}

async function alertFailed(
  deps: Deps,
  {
    model,
    batch,
    known,
    alerts,
  }: { model: string; batch: string; known: readonly PartitionState[]; alerts: OpenTriggerAlerts },
): Promise<void> {
  const dedupeKey = partitionAlertKey(model, batch)
  const failed = known.filter(({ status }) => status === 'failed')
  const [first] = failed
  if (first === undefined) return resolveIfOpen(deps, alerts, dedupeKey)
  const named = failed.slice(0, maxNamed).map(({ partition }) => partition)
  await upsertAlert(deps.store, {
    dedupeKey,
    model,
    severity: 'warning',
    kind: 'partition_failed',
    message: `${counted(failed.length, 'partition')} of the batch ${batch} of ${model} without answers: ${named.join(', ')}${failed.length > maxNamed ? ', …' : ''}. ${first.partition}: ${first.message ?? ''}`,
    evidence: { batch, failed: failed.length },
  })
}

/** Checks whether the largest value of a column has risen, in Tenure's database or another Postgres, with a read-only role. */
export const lookAtWatermark: Look<WatermarkSensor, { mark: string | null }> = async (
  { store },
  { table, column, source },
  before,
) => {
  const from = table.split('.').map(quotedIdentifier).join('.')
  const found: (string | null)[] = []
  await queryReader(store, source)(
    `select max(${quotedIdentifier(column)})::text from ${from}`,
    async ({ rows }) => void found.push(...rows.flat()),
  )
  const mark = found[0] ?? null
  if (mark !== null && !isFiniteMark(mark))
    throw new DomainError(
      'source_unreadable',
      `the largest value of ${table}.${column} is ${mark}, which no later row exceeds: correct that row, or watch a view without it`,
    )
  if (before === undefined) return { seen: { mark } }
  // Deleted rows lower the mark; only a mark above all earlier ones is news.
  if (mark === null || !isLaterMark(mark, before.mark)) return { seen: before }
  const message = `${table}.${column} has risen from ${before.mark ?? 'nothing'} to ${mark}`
  return { seen: { mark }, news: { message, evidence: { watermark: mark, before: before.mark } } }
}

// Checks for completed runs of an upstream workflow. Temporal lists a run some time after its end, so the periods of two checks overlap.

interface SeenRuns {
  /** ISO 8601: the last end. */
  after: string
  /** The runs that ended in the overlap before it. */
  runs: string[]
}

/** How late a run may be listed, compared with another one. */
const overlapMs = 600_000
const pageSize = 1_000

export const lookForRuns: Look<WorkflowSensor, SeenRuns> = async (_, sensor, before, of) => {
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
    ({ execution }) => namespace !== own || execution?.workflowId !== of?.starts,
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

// Checks for a promotion. Only the newest counts, because only a champion is compressed.

export const lookForPromotions: Look<PromotionSensor, { at: string | null }> = async (
  { store },
  { compression },
  before,
  of,
) => {
  const [change] = await listChampionHistory(store, of?.model ?? '', 1)
  const seen = { at: change?.at ?? null }
  if (before === undefined || change?.cause !== 'promotion' || change.at === before.at) return { seen }
  const { version } = change
  // A version that this trigger has made must not be compressed again.
  const { manifest } = await getVersion(store, version)
  if (manifest.training.compression !== undefined) return { seen }
  return {
    seen,
    news: {
      // One for each parent, also when it is promoted again after a rollback.
      id: `fir_compress_${version}`,
      message: `${version} was promoted`,
      evidence: { version, to: compression.to },
      compression: { ...compression, version },
    },
  }
}
