/** Sends the changes of a plan to the API, which applies them, or with `dry_run` only refuses what it could not apply. */
import { identityOf, type ResourceChange } from '../../domain/installation/resource.ts'
import type { Client } from '../client/client.ts'

export const postChanges = <Answer>(
  api: Client,
  changes: readonly ResourceChange[],
  more: { reason: string; dry_run?: boolean; named?: unknown },
): Promise<Answer> => api.post<Answer>('/v1/state', { changes: changes.map(withoutDefinition), ...more })

/** Removes the definition, because the API compares models by the digests of their code. */
const withoutDefinition = ({ kind, name, before, after }: ResourceChange): ResourceChange => ({
  kind,
  name,
  before: identityOf(kind, before),
  after: identityOf(kind, after),
})
