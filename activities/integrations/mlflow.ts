/**
 * Mirrors trainings, versions and aliases to an MLflow server. Every step reads before it writes and may be repeated, because the
 * result of an earlier attempt may be unknown.
 */
import { findAliases, findVersionPayload } from '../../store/integrations/outbox.ts'
import { sendRequest, isRequestRefusal } from '../../store/integrations/http-request.ts'
import type { Mirror } from '../../temporal.config.ts'
import { findTrainingRun } from '../../store/training/trainings.ts'
import type { Database } from '../../store/postgres.ts'

type Subject = 'training' | 'version' | 'aliases'

/** Leaves existing entities alone and skips rows that no longer exist. */
export async function syncMlflow(deps: MlflowDeps, kind: Subject, subject: string): Promise<void> {
  if (kind === 'training') await upsertRun(deps, subject)
  else if (kind === 'version') await upsertModelVersion(deps, subject)
  else await bringAliases(deps, subject)
}

/** Aliases the champion and the candidate of the open release. */
async function bringAliases(deps: MlflowDeps, model: string): Promise<void> {
  const { store, mirror } = deps
  const aliases = await findAliases(store, model)
  for (const alias of ['champion', 'challenger'] as const) {
    const version = aliases[alias]
    const number = version === undefined ? undefined : await upsertModelVersion(deps, version)
    if (number !== undefined)
      await post(mirror, 'registered-models/alias', { name: model, alias, version: number })
    else
      await sendRequest(mirror, {
        method: 'DELETE',
        path: `${api}/registered-models/alias`,
        body: { name: model, alias },
      }).catch(orGone)
  }
}

function orGone(error: unknown): void {
  if (!isRequestRefusal(error) || (error.status !== 404 && error.code !== 'RESOURCE_DOES_NOT_EXIST'))
    throw error
}

// Mirrors a registered version as an MLflow model version, which MLflow numbers itself.

/** Returns MLflow's number; undefined when the version no longer exists. */
async function upsertModelVersion(deps: MlflowDeps, version: string): Promise<string | undefined> {
  const { store, mirror } = deps
  const found = await findVersionPayload(store, version)
  if (found === undefined) return undefined
  const { model } = found
  const there = await numberOf(mirror, { model, version })
  const { artifactDigest: artifact, status, snapshot } = found
  const tags = tagsOf({ version, artifact, status, snapshot })
  if (there !== undefined) {
    for (const { key, value } of tags)
      await post(mirror, 'model-versions/set-tag', { name: model, version: there, key, value })
    return there
  }
  const runId = await upsertRun(deps, found.trainingId)
  await post(mirror, 'registered-models/create', { name: model }).catch(orThere)
  const { model_version: made } = await post<{ model_version: { version: string } }>(
    mirror,
    'model-versions/create',
    {
      name: model,
      // Identifies the artifact without a loadable address, because only Tenure verifies artifacts.
      source: `tenure://artifacts/${artifact}`,
      tags,
      run_id: runId,
    },
  )
  return made.version
}

async function numberOf(
  mirror: Mirror,
  { model, version }: { model: string; version: string },
): Promise<string | undefined> {
  const filter = `name = ${quoted(model)} and tags.\`tenure.version\` = ${quoted(version)}`
  const path = `${api}/model-versions/search?max_results=1&filter=${encodeURIComponent(filter)}`
  const found = await sendRequest<{ model_versions?: { version: string }[] }>(mirror, { method: 'GET', path })
  return found.model_versions?.[0]?.version
}

function orThere(error: unknown): void {
  if (!isRequestRefusal(error) || error.code !== 'RESOURCE_ALREADY_EXISTS') throw error
}

// Mirrors a training as an MLflow run, found by its tag so that repeated deliveries create one run.

/** A log-batch request takes 1,000 metrics, parameters and tags in total, with at most 100 parameters and 100 tags. */
const maxParams = 100
const maxMetrics = 800
const maxParamLength = 6_000

async function experimentOf({ mirror }: MlflowDeps, model: string): Promise<string> {
  const name = `tenure/${model}`
  const find = async (): Promise<string> => {
    const path = `${api}/experiments/get-by-name?experiment_name=${encodeURIComponent(name)}`
    type Found = { experiment: { experiment_id: string } }
    return (await sendRequest<Found>(mirror, { method: 'GET', path })).experiment.experiment_id
  }
  try {
    return await find()
  } catch (error) {
    if (!isRequestRefusal(error) || error.status !== 404) throw error
  }
  try {
    return (await post<{ experiment_id: string }>(mirror, 'experiments/create', { name })).experiment_id
  } catch (error) {
    if (isRequestRefusal(error) && error.code === 'RESOURCE_ALREADY_EXISTS') return find()
    throw error
  }
}

/** Returns the run id; undefined when the training no longer exists. */
async function upsertRun(deps: MlflowDeps, trainingId: string): Promise<string | undefined> {
  const { store, mirror } = deps
  const training = await findTrainingRun(store, trainingId)
  if (training === undefined) return undefined
  const experiment = await experimentOf(deps, training.model)
  const found = await post<{ runs?: { info: { run_id: string } }[] }>(mirror, 'runs/search', {
    experiment_ids: [experiment],
    filter: `tags.\`tenure.training\` = ${quoted(trainingId)}`,
    max_results: 1,
  })
  const startMs = Date.parse(training.startedAt)
  let runId = found.runs?.[0]?.info.run_id
  if (runId === undefined) {
    const { run } = await post<{ run: { info: { run_id: string } } }>(mirror, 'runs/create', {
      experiment_id: experiment,
      run_name: trainingId,
      start_time: startMs,
      tags: tagsOf({ training: trainingId }),
    })
    runId = run.info.run_id
  }
  // MLflow parameters are immutable; values that may change are tags.
  const params = Object.entries({ ...training.hyperparameters, seed: training.seed }).map(([key, value]) => ({
    key,
    value: String(value).slice(0, maxParamLength),
  }))
  const metrics = [
    ...training.curve.map(({ epoch, loss }) => ({ key: 'loss', value: loss, step: epoch })),
    ...Object.entries(training.metrics).map(([key, value]) => ({ key, value, step: 0 })),
  ].map((metric) => ({ ...metric, timestamp: startMs }))
  const tags = tagsOf({
    snapshot: training.snapshotDigest,
    code: training.codeDigest,
    build: training.buildId,
    dependencies: training.dependenciesDigest || undefined,
    artifact: training.artifactDigest,
    verdict: training.verdict,
    version: training.version,
    message: training.message,
  })
  for (let at = 0; at === 0 || at < Math.max(params.length, metrics.length); at += maxParams)
    await post(mirror, 'runs/log-batch', {
      run_id: runId,
      params: params.slice(at, at + maxParams),
      metrics: at % maxMetrics === 0 ? metrics.slice(at, at + maxMetrics) : [],
      tags: at === 0 ? tags : [],
    })
  const { status, endedAt } = training
  if (status !== 'running')
    await post(mirror, 'runs/update', {
      run_id: runId,
      status: status === 'done' ? 'FINISHED' : 'FAILED',
      end_time: endedAt === undefined ? undefined : Date.parse(endedAt),
    })
  return runId
}

// Sends requests to MLflow and builds its filters.

interface MlflowDeps {
  store: Database
  mirror: Mirror
}

const api = '/api/2.0/mlflow'
const post = <T>(mirror: Mirror, path: string, body: object): Promise<T> =>
  sendRequest<T>(mirror, { method: 'POST', path: `${api}/${path}`, body })

export interface Tag {
  key: string
  value: string
}

const tagsOf = (values: Record<string, string | undefined>): Tag[] =>
  Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key: `tenure.${key}`, value }],
  )

/** MLflow filter strings are single-quoted and have no escape; the ids and names here contain no quotes. */
const quoted = (text: string): string => `'${text.replaceAll("'", '')}'`
