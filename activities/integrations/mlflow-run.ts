/** Mirrors a training as an MLflow run, found by its tag so that repeated deliveries create one run. */
import { findTrainingRun } from '../../store/training/training-search.ts'
import { api, post, quoted, tagsOf, type MlflowDeps } from './mlflow-client.ts'
import { sendRequest, isRequestRefusal } from './http-request.ts'

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
export async function upsertRun(deps: MlflowDeps, trainingId: string): Promise<string | undefined> {
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
