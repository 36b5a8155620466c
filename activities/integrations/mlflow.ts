/**
 * Brings an MLflow server in line with what is here: a run for each training, a version for each registered one, and the aliases
 * of those that answer. Every step looks first and can be done again, for nobody knows what of an attempt before has arrived.
 */
import { findAliases } from '../../store/integrations/payloads.ts'
import { upsertRun } from './mlflow-run.ts'
import { upsertModelVersion } from './mlflow-version.ts'
import { api, post, type MlflowDeps } from './mlflow-client.ts'
import { sendRequest, isRequestRefusal } from './http-request.ts'

type Subject = 'training' | 'version' | 'aliases'

/** What stands there already is left; what is not in the database any more is nothing to tell of. */
export async function syncMlflow(deps: MlflowDeps, kind: Subject, subject: string): Promise<void> {
  if (kind === 'training') await upsertRun(deps, subject)
  else if (kind === 'version') await upsertModelVersion(deps, subject)
  else await bringAliases(deps, subject)
}

/** What is champion at this moment, and what an open release makes its challenger. */
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
