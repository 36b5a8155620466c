/** Reads which workflows and schedules must exist in Temporal for this database, and finds rows and runs that have parted. */
import sql, { join, type Sql } from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { FeatureView } from '../../domain/model/feature-view.ts'
import { rowsFrom } from '../database/from-row.ts'
import { readServiceState, writeServiceState } from '../database/key-value.ts'
import { isUsed, listViews } from '../features/feature-views.ts'
import type { Database } from '../postgres.ts'
import { listModels, listSentModels, type StoredModel } from '../registry/models.ts'

export interface ExpectedWork {
  models: ModelDefinition[]
  /** Models whose file was removed: monitored, but neither retrained nor drilled. */
  removed: string[]
  views: FeatureView[]
  /** Models with a queued release. */
  queued: string[]
  /** Erasures that are not done. */
  erasures: string[]
}

export async function readExpectedWork(database: Database): Promise<ExpectedWork> {
  const rows = rowsFrom(database)
  const views = (await listViews(database)).filter(isUsed)
  return {
    models: (await listModels(database)).map(({ definition, name }) => ({ ...definition, name })),
    removed: await listRemovedModels(database),
    views: views.map(({ definition }) => definition),
    queued: await rows.column<string>(sql`select model from release_queue where state = 'waiting'`),
    erasures: await rows.column<string>(sql`select id from erasures where ended_at is null`),
  }
}

const removedModels = 'models_without_file'

/** Models without a file at the last sync. */
export async function listRemovedModels(database: Database): Promise<string[]> {
  const removed = (await readServiceState<string[]>(database, removedModels)) ?? []
  if (removed.length === 0) return []
  // Files that were sent since take the place of the removed one.
  const sent = await listSentModels(database)
  return removed.filter((name) => !sent.includes(name))
}

/** Leaves models without a file out of lists, unless they have a version, which may serve. What they have recorded stays. */
export const isListedModel = sql`(models.files_digest is not null
  or exists (select from versions where versions.model = models.name) or not exists (
  select from service_state where service_state.name = ${removedModels} and service_state.value ? models.name))`

/** By name. */
export const listListedModels = (database: Database) =>
  rowsFrom(database).list<StoredModel>(sql`select * from models where ${isListedModel} order by name`)

/** Throws for a model without a file: training and evaluating read it. */
export async function requireModelFile(database: Database, model: string): Promise<void> {
  if ((await listRemovedModels(database)).includes(model))
    throw new DomainError(
      'command_refused',
      `the model file of ${model} was removed: restore it in models/, then run \`tenure models sync\``,
    )
}

export const recordRemovedModels = (database: Database, names: readonly string[]): Promise<void> =>
  writeServiceState(database, removedModels, names)

/** How the rows of one kind name their workflows. */
interface RunKind {
  /** The workflow type. */
  type: string
  /** The id of a workflow is this prefix, a slash and the subject. */
  prefix: string
  /**
   * `derived`: a schedule or a terminal may start the type under another id, which then waits for the run under this one. `exact`: every run
   * has this id.
   */
  ids: 'derived' | 'exact'
  /** What the worker does about an open row that no workflow works on. A view waits for its schedule. */
  alone: 'close' | 'start' | 'wait'
  /** Selects id, model, subject, run_id (the first run of the workflow; null if the row does not name it), ended_at and drill. */
  rows: Sql
}

/** All kinds of workflows that work on a row: a row and its workflow are open together, and end together. */
export const runKinds = {
  release: {
    type: 'release',
    prefix: 'release',
    ids: 'derived',
    alone: 'close',
    rows: sql`select id, model, model as subject, run_id, ended_at, null as drill from releases`,
  },
  retraining: {
    type: 'retrain',
    prefix: 'retrain',
    ids: 'derived',
    alone: 'close',
    rows: sql`select id, model, model, substring(id from '[^/]*$'), ended_at, null from retrainings`,
  },
  trial: {
    type: 'trial',
    prefix: 'trial',
    ids: 'exact',
    alone: 'close',
    rows: sql`select id, model, id, null, ended_at, null from trials`,
  },
  sweep: {
    type: 'sweep',
    prefix: 'sweep',
    ids: 'derived',
    alone: 'close',
    rows: sql`select id, model, model, null, ended_at, null from sweeps`,
  },
  drill: {
    type: 'drill',
    prefix: 'drill',
    ids: 'derived',
    alone: 'close',
    // As `drillId` in domain/drill.ts.
    rows: sql`select id, model, model, left(substr(id, 5), -2), ended_at, kind from drills`,
  },
  batch: {
    type: 'batchPredict',
    prefix: 'batch',
    ids: 'exact',
    alone: 'close',
    rows: sql`select id, model, id, null, ended_at, null from batches`,
  },
  erasure: {
    type: 'erase',
    prefix: 'erase',
    ids: 'exact',
    alone: 'start',
    rows: sql`select id, model, id, null, ended_at, null from erasures`,
  },
  queue: {
    type: 'releaseQueue',
    prefix: 'queue',
    ids: 'exact',
    alone: 'start',
    rows: sql`select id, model, model, null, ended_at, null from release_queue`,
  },
  monitor: {
    type: 'monitor',
    prefix: 'monitor',
    ids: 'exact',
    alone: 'start',
    rows: sql`select name, name, name, null, null::timestamptz, null from models`,
  },
  view: {
    type: 'materialise',
    prefix: 'materialise',
    ids: 'exact',
    alone: 'wait',
    // A schedule ingests one definition, under an id with the first digits of its digest.
    rows: sql`select distinct name, null, subject, null, null::timestamptz, null from feature_views cross join lateral
      (values (name), (name || '/' || left(replace(digest, 'sha256:', ''), 12))) as each (subject)`,
  },
} as const satisfies Record<string, RunKind>

export type RunKindName = keyof typeof runKinds
const kindNames = Object.keys(runKinds) as RunKindName[]
/** Of the workflow ids. */
export const runPrefixes = kindNames.map((name) => runKinds[name].prefix)

/** A row that a workflow works on. */
export interface RowOfRun {
  kind: RunKindName
  id: string
  model?: string
  workflowId: string
  /** The first run of its workflow, without hyphens. Absent where the row does not name it: then any run under the workflow id is its own. */
  runId?: string
  endedAt?: string
  /** The kind of a drill. */
  drill?: string
}

const selectRows = (names: readonly RunKindName[], condition: Sql): Sql =>
  join(
    names.map(
      (name) => sql`
    select ${name}::text as kind, id, model, ${runKinds[name].prefix}::text || '/' || subject as workflow_id,
      replace(run_id, '-', '') as run_id, ended_at, drill
    from (${runKinds[name].rows}) as each (id, model, subject, run_id, ended_at, drill) where ${condition}`,
    ),
    ' union all ',
  )

/** The open rows of all kinds. */
export const listOpenRows = (database: Database) =>
  rowsFrom(database).list<RowOfRun>(selectRows(kindNames, sql`ended_at is null`))

/** An open row that the worker closes when no workflow works on it. */
export type OpenRun = RowOfRun & { kind: ClosedAlone; model: string }
export type ClosedAlone = {
  [Name in RunKindName]: (typeof runKinds)[Name]['alone'] extends 'close' ? Name : never
}[RunKindName]

export const isClosedAlone = (row: RowOfRun): row is OpenRun => runKinds[row.kind].alone === 'close'

export const listOpenRuns = async (database: Database): Promise<OpenRun[]> =>
  (await listOpenRows(database)).filter(isClosedAlone)

/** A run of a workflow with a row. */
interface RunOfRow {
  kind: RunKindName
  workflowId: string
  /** A reset or continued run keeps the first one's id. */
  firstRunId: string
}

/** The newest row of each of these runs; undefined for a run without one. */
async function findRowsOf(database: Database, runs: readonly RunOfRow[]): Promise<(RowOfRun | undefined)[]> {
  if (runs.length === 0) return []
  const names = kindNames.filter((name) => runs.some(({ kind }) => kind === name))
  const isOfRun = sql`replace(run_id, '-', '') = any(${runs.map(({ firstRunId }) => bare(firstRunId))})
    or run_id is null and subject = any(${runs.map(({ workflowId }) => subjectOf(workflowId))})`
  const rows = await rowsFrom(database).list<RowOfRun>(sql`
    select * from (${selectRows(names, isOfRun)}) as found order by ended_at desc nulls first`)
  return runs.map((run) => rows.find((row) => keysOf(run).includes(keyOf(row))))
}

const keyOf = ({ kind, workflowId, runId }: RowOfRun): string => `${kind} ${runId ?? workflowId}`
const keysOf = ({ kind, workflowId, firstRunId }: RunOfRow): string[] => [
  `${kind} ${bare(firstRunId)}`,
  `${kind} ${workflowId}`,
]
const subjectOf = (workflowId: string): string => workflowId.slice(workflowId.indexOf('/') + 1)
const kindOf = (workflowId: string): RunKindName | undefined =>
  kindNames.find((name) => workflowId.startsWith(`${runKinds[name].prefix}/`))

/** A run that Temporal lists as open. */
interface ListedRun {
  workflowId: string
  runId: string
  taskQueue: string
  startedMs: number
}

/** An open run whose row has ended, or that has no row. */
export interface StrayRun extends RunOfRow, Pick<ListedRun, 'startedMs'> {
  /** The row that has ended. */
  row?: RowOfRun
  /** Absent for a run of no known model. */
  model?: string
}

/** Temporal's answer about the newest run under a workflow id, or about the given one; undefined when it has none. */
type Describe = (run: {
  workflowId: string
  runId?: string
}) => Promise<{ firstRunId: string; running: boolean } | undefined>

/** A schedule appends its time to the workflow id. */
const scheduledAt = /-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/

/**
 * Compares the open rows with the open runs, and returns those that are open alone. `open` may lag behind: what it lacks or has too much
 * is asked from `describe`. An open run may be about to open its row or may just have ended it.
 */
export async function findParted(
  database: Database,
  {
    open,
    taskQueue,
    describe,
    maxDescribed = 200,
  }: { open: readonly ListedRun[]; taskQueue: string; describe: Describe; maxDescribed?: number },
): Promise<{ rows: OpenRun[]; runs: StrayRun[] }> {
  const openRows = await listOpenRows(database)
  const openKeys = new Set(openRows.map(keyOf))
  const models = new Set(openRows.flatMap(({ kind, id }) => (kind === 'monitor' ? [id] : [])))
  const listed = open.flatMap((run) => {
    const kind = kindOf(run.workflowId)
    return kind === undefined ? [] : [{ ...run, kind, firstRunId: run.runId }]
  })
  /** By the id of the row: a scheduled run has a longer one. */
  const keysOfListed = (run: RunOfRow) =>
    keysOf({ ...run, workflowId: run.workflowId.replace(scheduledAt, '') })
  const isCarried = (run: RunOfRow) => keysOfListed(run).some((key) => openKeys.has(key))
  const others = listed
    .filter((run) => !isCarried(run))
    .toSorted((one, other) => one.startedMs - other.startedMs)
    .slice(0, maxDescribed)
  const described = await Promise.all(
    others.map(async ({ runId, ...run }) => {
      const found = await describe({ workflowId: run.workflowId, runId })
      return found?.running === true ? [{ ...run, firstRunId: found.firstRunId }] : []
    }),
  )
  const running = described.flat()
  const carriedKeys = new Set([...listed.filter(isCarried), ...running].flatMap(keysOfListed))
  const alone = openRows.filter(isClosedAlone).filter((row) => !carriedKeys.has(keyOf(row)))
  const asked = await Promise.all(alone.map(({ workflowId }) => describe({ workflowId })))
  const rows = alone.filter((row, place) => {
    const run = asked[place]
    return run?.running !== true || (row.runId !== undefined && row.runId !== bare(run.firstRunId))
  })
  const found = await findRowsOf(database, running)
  const runs = running.flatMap((run, place): StrayRun[] => {
    const row = found[place]
    if (isCarried(run) || (row !== undefined && row.endedAt === undefined)) return []
    const { kind, workflowId, firstRunId, startedMs } = run
    const subject = subjectOf(workflowId)
    const model = row?.model ?? (models.has(subject) ? subject : undefined)
    const isOwn = run.taskQueue === taskQueue && runKinds[kind].ids === 'exact'
    return row === undefined && model === undefined && !isOwn
      ? []
      : [{ kind, workflowId, firstRunId, startedMs, row, model }]
  })
  return { rows, runs }
}

const bare = (runId: string): string => runId.replaceAll('-', '')
