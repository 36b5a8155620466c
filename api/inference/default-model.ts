/** Finds the model of a request that names none. MLflow clients send to `/invocations` of a server with one model. */
import { DomainError } from '../../domain/errors.ts'
import { canAccessModel, type Actor } from '../auth/authentication.ts'
import type { Serving } from '../serving/replica-assembly.ts'

/**
 * Returns the configured model, or the only one of this replica that the key has access to. Throws `forbidden` when it has none to the
 * configured one, and `model_not_found` when there is no single model; neither names a model of others.
 */
export function defaultModel(
  { routing }: Pick<Serving, 'routing'>,
  configured: string | undefined,
  actor: Actor,
): string {
  if (configured !== undefined) {
    if (canAccessModel(actor, configured)) return configured
    const issue = `the key ${actor.name} has no access to the model of TENURE_INVOCATIONS_MODEL`
    throw new DomainError('forbidden', issue)
  }
  const models = [...routing.live()]
    .map(({ route }) => route.model)
    .filter((model) => canAccessModel(actor, model))
  const [only] = models
  if (only !== undefined && models.length === 1) return only
  throw new DomainError(
    'model_not_found',
    `/invocations names no model, and this replica serves ${models.length} to the key ${actor.name}: set TENURE_INVOCATIONS_MODEL, or send to /v1/models/{name}/invocations`,
  )
}
