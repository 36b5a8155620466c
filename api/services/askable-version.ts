/** Says who may ask a version for answers: one rule for every route that computes them beside the routes of predictions. */
import { DomainError } from '../../domain/errors.ts'
import { findChampion } from '../../store/registry/champions.ts'
import type { Version } from '../../store/registry/versions.ts'
import type { Database } from '../../store/postgres.ts'
import type { Actor } from '../auth/authentication.ts'

/**
 * Throws `version_not_found` for a key of predictions and a version that no release has given to callers, or that was rolled back. People who
 * decide about versions may ask each.
 */
export async function requireAskable(
  database: Database,
  { role }: Actor,
  { version, model, knownGoodAt, rolledBackAt }: Version,
): Promise<void> {
  if (role !== 'predictor') return
  if (rolledBackAt === undefined && knownGoodAt !== undefined) return
  if ((await findChampion(database, model))?.version === version) return
  throw new DomainError(
    'version_not_found',
    `${version} ${rolledBackAt === undefined ? 'was not released' : 'was rolled back'}, so it answers no predictor`,
  )
}
