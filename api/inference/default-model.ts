/** Finds the model of a request that names none. MLflow clients send to `/invocations` of a server with one model. */
import { DomainError } from '../../domain/errors.ts'
import type { Serving } from '../serving/replica-assembly.ts'

/** Returns the configured model, or the only one of this replica. Throws `model_not_found` when there is no single model. */
export function defaultModel({ routing }: Pick<Serving, 'routing'>, configured: string | undefined): string {
  if (configured !== undefined) return configured
  const models = [...routing.live()].map(({ route }) => route.model)
  const [only] = models
  if (only !== undefined && models.length === 1) return only
  throw new DomainError(
    'model_not_found',
    `/invocations names no model, and this replica serves ${models.length}: set TENURE_INVOCATIONS_MODEL, or send to /v1/models/{name}/invocations`,
  )
}
