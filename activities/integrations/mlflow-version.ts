/** A registered version as a model version of MLflow, which gives it a number of its own. */
import { findVersionPayload } from '../../store/integrations/payloads.ts'
import type { Mirror } from '../../temporal.config.ts'
import { upsertRun } from './mlflow-run.ts'
import { api, post, quoted, tagsOf, type MlflowDeps } from './mlflow-client.ts'
import { sendRequest, isRequestRefusal } from './http-request.ts'

/** Answers the number that MLflow gives it; nothing when there is no such version. */
export async function upsertModelVersion(deps: MlflowDeps, version: string): Promise<string | undefined> {
  const { store, mirror } = deps
  const found = await findVersionPayload(store, version)
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
  const runId = await upsertRun(deps, found.trainingId)
  await post(mirror, 'registered-models/create', { name: model }).catch(orThere)
  const { model_version: made } = await post<{ model_version: { version: string } }>(
    mirror,
    'model-versions/create',
    {
      name: model,
      // A name of the bytes and no place to load them from: nobody but Tenure vouches for them.
      source: `tenure://artifacts/${found.artifactDigest}`,
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
