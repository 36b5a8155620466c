/**
 * Mirrors trainings, versions and aliases to an MLflow server. Every step reads before it writes and may be repeated, because the
 * result of an earlier attempt may be unknown.
 */
import { findAliases } from '../../store/integrations/payloads.ts'
import { upsertRun } from './mlflow-run.ts'
import { upsertModelVersion } from './mlflow-version.ts'
import { api, post, type MlflowDeps } from './mlflow-client.ts'
import { sendRequest, isRequestRefusal } from './http-request.ts'

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
