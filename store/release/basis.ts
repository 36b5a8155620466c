/** Reads the current basis of a release: the champion of the model, and the digests and the evaluation of the version. */
import type { ReleaseBasis } from '../../domain/release/state.ts'
import type { Database } from '../postgres.ts'
import { findChampion } from '../registry/champions.ts'
import { findReleasable, type Releasable } from './releases.ts'

export async function findReleaseBasis(
  database: Database,
  { model, version }: { model: string; version: string },
): Promise<ReleaseBasis> {
  const champion = await findChampion(database, model)
  return releaseBasisOf(await findReleasable(database, version), champion?.version)
}

export const releaseBasisOf = (
  candidate: Releasable | undefined,
  champion: string | undefined,
): ReleaseBasis => ({
  champion,
  withdrawn: candidate?.withdrawn ?? false,
  artifact: candidate?.artifactDigest,
  evaluation: candidate?.evaluationDigest,
  evaluatedAgainst: candidate?.evaluatedAgainst ?? undefined,
})
