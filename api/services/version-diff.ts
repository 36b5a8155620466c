/** Compares two versions by their names. */
import {
  compareVersions,
  type ComparedVersion,
  type VersionComparison,
} from '../../domain/registry/version-diff.ts'
import type { Database } from '../../store/postgres.ts'
import { findTrainingRun } from '../../store/training/trainings.ts'
import { findStatus, type Version } from '../../store/registry/versions.ts'
import { resolveVersion } from './resolve-version.ts'

/** Compares two versions. Throws like `resolveVersion`; a version of a model that the key may not access counts as unknown. */
export async function compareNamed(
  store: Database,
  names: { one: string; other: string },
): Promise<{ comparison: VersionComparison; models: [string, string] }> {
  const [one, other] = await Promise.all(
    [names.one, names.other].map(async (name) => {
      return comparedOf(store, await resolveVersion(store, name))
    }),
  )
  return { comparison: compareVersions(one!, other!), models: [one!.model, other!.model] }
}

async function comparedOf(store: Database, version: Version): Promise<ComparedVersion> {
  const [training, { status } = { status: 'registered' as const }] = await Promise.all([
    findTrainingRun(store, version.trainingId),
    findStatus(store, version.version),
  ])
  const { epoch: epochs = 0, dependencies = {}, loss, durationMs, buildId } = training ?? {}
  return { ...version, status, training: { epochs, dependencies, loss, durationMs, buildId } }
}
