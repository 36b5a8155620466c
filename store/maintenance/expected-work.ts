/** Reads which workflows and schedules must exist in Temporal for this database. */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { FeatureView } from '../../domain/model/feature-view.ts'
import { rowsFrom } from '../database/from-row.ts'
import { readServiceState, writeServiceState } from '../database/key-value.ts'
import { isUsed, listViews } from '../features/feature-views.ts'
import type { Database } from '../postgres.ts'
import { listModels, type StoredModel } from '../registry/models.ts'

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
    // When two definitions are in use, the newest is scheduled.
    views: [...new Map(views.toReversed().map(({ name, definition }) => [name, definition])).values()],
    queued: await rows.column<string>(sql`select model from release_queue where state = 'waiting'`),
    erasures: await rows.column<string>(sql`select id from erasures where ended_at is null`),
  }
}

const removedModels = 'models_without_file'

/** Models without a file at the last sync. */
export const listRemovedModels = async (database: Database): Promise<string[]> =>
  (await readServiceState<string[]>(database, removedModels)) ?? []

/** Leaves models without a file out of lists, unless they have a version, which may serve. What they have recorded stays. */
export const isListedModel = sql`(exists (select from versions where versions.model = models.name) or not exists (
  select from service_state where service_state.name = ${removedModels} and service_state.value ? models.name))`

/** By name. */
export const listListedModels = (database: Database) =>
  rowsFrom(database).list<StoredModel>(sql`select * from models where ${isListedModel} order by name`)

/** Throws for a model without a file: training and evaluating read it. */
export async function requireModelFile(database: Database, model: string): Promise<void> {
  if ((await listRemovedModels(database)).includes(model))
    throw new DomainError(
      'command_refused',
      `the model file of ${model} was removed: restore models/${model}.ts, then run \`tenure models sync\``,
    )
}

export const recordRemovedModels = (database: Database, names: readonly string[]): Promise<void> =>
  writeServiceState(database, removedModels, names)

/** A row whose workflow should be running. */
export interface OpenRun {
  kind: 'drill' | 'retraining' | 'trial' | 'sweep' | 'batch'
  id: string
  model: string
  /** The kind of a drill. */
  drill?: string
  workflowId: string
}

export const listOpenRuns = (database: Database) =>
  rowsFrom(database).list<OpenRun>(sql`
    select 'drill' as kind, id, model, kind as drill, 'drill/' || model as workflow_id from drills where ended_at is null
    union all
    select 'retraining', id, model, null, 'retrain/' || model from retrainings where ended_at is null
    union all
    select 'trial', id, model, null, 'trial/' || id from trials where ended_at is null
    union all
    select 'sweep', id, model, null, 'sweep/' || model from sweeps where ended_at is null
    union all
    select 'batch', id, model, null, 'batch/' || id from batches where ended_at is null`)
