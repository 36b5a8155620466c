/**
 * Brings an MLflow server in line with what is here: a run for each training, a version for each registered one, and the aliases
 * of those that answer. Every step looks first and can be done again, for nobody knows what of an attempt before has arrived.
 */
import { findMirroredTraining, findMirroredVersion, findAliases } from '../../store/mirrored.ts'
import type { Database } from '../../store/postgres.ts'
import type { Mirror } from '../../temporal.config.ts'
import { ask, isRefusal } from './request.ts'

export interface MlflowDeps {
  store: Database
  mirror: Mirror
}

type Subject = 'training' | 'version' | 'aliases'

/** What stands there already is left; what is not in the database any more is nothing to tell of. */
export async function tellMlflow(deps: MlflowDeps, kind: Subject, subject: string): Promise<void> {
  if (kind === 'training') await bringRun(deps, subject)
  else if (kind === 'version') await bringVersion(deps, subject)
  else await bringAliases(deps, subject)
}

const api = '/api/2.0/mlflow'
/** Of one request of log-batch. */
const metricsAtOnce = 1_000
const paramsAtOnce = 100
const paramLength = 6_000

const post = <T>(mirror: Mirror, path: string, body: object): Promise<T> =>
  ask<T>(mirror, { method: 'POST', path: `${api}/${path}`, body })

interface Tag {
  key: string
  value: string
}

const tagsOf = (values: Record<string, string | undefined>): Tag[] =>
  Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key: `tenure.${key}`, value }],
  )

/** Texts of the filter language stand in single quotes and know no escape; ids and names here hold none. */
const quoted = (text: string): string => `'${text.replaceAll("'", '')}'`

async function experimentOf({ mirror }: MlflowDeps, model: string): Promise<string> {
  const name = `tenure/${model}`
  const find = async (): Promise<string> => {
    const path = `${api}/experiments/get-by-name?experiment_name=${encodeURIComponent(name)}`
    const { experiment } = await ask<{ experiment: { experiment_id: string } }>(mirror, {
      method: 'GET',
      path,
    })
    return experiment.experiment_id
  }
  try {
    return await find()
  } catch (error) {
    if (!isRefusal(error) || error.status !== 404) throw error
  }
  try {
    return (await post<{ experiment_id: string }>(mirror, 'experiments/create', { name })).experiment_id
  } catch (error) {
    if (isRefusal(error) && error.code === 'RESOURCE_ALREADY_EXISTS') return find()
    throw error
  }
}

/** Answers the id of the run; nothing when there is no such training any more. */
async function bringRun(deps: MlflowDeps, trainingId: string): Promise<string | undefined> {
  const { store, mirror } = deps
  const training = await findMirroredTraining(store, trainingId)
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
  // Parameters can be said once and never otherwise; what may change yet is a tag.
  const params = Object.entries({ ...training.hyperparameters, seed: training.seed }).map(([key, value]) => ({
    key,
    value: String(value).slice(0, paramLength),
  }))
  const metrics = [
    ...training.curve.map(({ epoch, loss }) => ({
      key: 'loss',
      value: loss,
      timestamp: startMs,
      step: epoch,
    })),
    ...Object.entries(training.metrics).map(([key, value]) => ({ key, value, timestamp: startMs, step: 0 })),
  ]
  const tags = tagsOf({
    snapshot: training.snapshotDigest,
    code: training.codeDigest,
    build: training.buildId,
    dependencies: training.dependenciesDigest === '' ? undefined : training.dependenciesDigest,
    artifact: training.artifactDigest,
    verdict: training.verdict,
    version: training.version,
    message: training.message,
  })
  for (let at = 0; at === 0 || at < Math.max(params.length, metrics.length); at += paramsAtOnce)
    await post(mirror, 'runs/log-batch', {
      run_id: runId,
      params: params.slice(at, at + paramsAtOnce),
      metrics: at % metricsAtOnce === 0 ? metrics.slice(at, at + metricsAtOnce) : [],
      tags: at === 0 ? tags : [],
    })
  const { status, endedAt } = training
  if (status !== 'running')
    await post(mirror, 'runs/update', {
      run_id: runId,
      status: status === 'done' ? 'FINISHED' : 'FAILED',
      ...(endedAt === undefined ? {} : { end_time: Date.parse(endedAt) }),
    })
  return runId
}

/** Answers the number that MLflow gives it; nothing when there is no such version. */
async function bringVersion(deps: MlflowDeps, version: string): Promise<string | undefined> {
  const { store, mirror } = deps
  const found = await findMirroredVersion(store, version)
  if (found === undefined) return undefined
  const { model } = found
  const there = await numberOf(mirror, { model, version })
  const tags = tagsOf({
    version,
    artifact: found.artifactDigest,
    status: found.status,
    snapshot: found.snapshot,
  })
  if (there !== undefined) {
    for (const { key, value } of tags)
      await post(mirror, 'model-versions/set-tag', { name: model, version: there, key, value })
    return there
  }
  const runId = await bringRun(deps, found.trainingId)
  await post(mirror, 'registered-models/create', { name: model }).catch(orThere)
  const { model_version: made } = await post<{ model_version: { version: string } }>(
    mirror,
    'model-versions/create',
    {
      name: model,
      // A name of the bytes and no place to load them from: nobody but Tenure vouches for them.
      source: `tenure://artifacts/${found.artifactDigest}`,
      tags,
      ...(runId === undefined ? {} : { run_id: runId }),
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
  const found = await ask<{ model_versions?: { version: string }[] }>(mirror, { method: 'GET', path })
  return found.model_versions?.[0]?.version
}

/** What is champion at this moment, and what an open release makes its challenger. */
async function bringAliases(deps: MlflowDeps, model: string): Promise<void> {
  const { store, mirror } = deps
  const aliases = await findAliases(store, model)
  for (const alias of ['champion', 'challenger'] as const) {
    const version = aliases[alias]
    const number = version === undefined ? undefined : await bringVersion(deps, version)
    if (number !== undefined)
      await post(mirror, 'registered-models/alias', { name: model, alias, version: number })
    else
      await ask(mirror, {
        method: 'DELETE',
        path: `${api}/registered-models/alias`,
        body: { name: model, alias },
      }).catch(orGone)
  }
}

function orThere(error: unknown): void {
  if (!isRefusal(error) || error.code !== 'RESOURCE_ALREADY_EXISTS') throw error
}

function orGone(error: unknown): void {
  if (!isRefusal(error) || (error.status !== 404 && error.code !== 'RESOURCE_DOES_NOT_EXIST')) throw error
}
