/** Mirrors a registered version as an MLflow model version, which MLflow numbers itself. */
import { findVersionPayload } from '../../store/integrations/payloads.ts'
import type { Mirror } from '../../temporal.config.ts'
import { upsertRun } from './mlflow-run.ts'
import { api, post, quoted, tagsOf, type MlflowDeps } from './mlflow-client.ts'
import { sendRequest, isRequestRefusal } from './http-request.ts'

/** Returns MLflow's number; undefined when the version no longer exists. */
export async function upsertModelVersion(deps: MlflowDeps, version: string): Promise<string | undefined> {
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
