/** Loads the versions of routes: verifies their signatures, opens their models, and registers the fields that their requests may carry. */
import { setTimeout as pause } from 'node:timers/promises'
import { isRemote } from '@tenure/predictors/format-names'
import { DomainError, isError } from '../../../domain/errors.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import type { Database } from '../../../store/postgres.ts'
import { findArtifact } from '../../../store/serving/replicas.ts'
import { verifyArtifact } from '../../../store/signing/artifact-signatures.ts'
import type { Verifier } from '../../../store/signing/signing-key.ts'
import type { ArtifactFiles, Runtimes } from '@tenure/predictors'
import { withInjectedFault } from '../version/drill-fault.ts'
import { withComputedColumns } from '../features/prepare.ts'
import { openVersion, takesTexts, type LoadedVersion } from '../version/loaded-version.ts'
import type { PredictionCache } from '../version/prediction-cache.ts'
import type { Cache, VersionOrigin } from './disk-cache.ts'
import type { FollowerOptions } from './route-follower.ts'
import type { RequestFields } from './request-fields.ts'

export interface LoaderDeps {
  store: Database
  /** Verifies the signatures of versions. */
  artifactKeys: Verifier
  cache: Cache
  runtimes: Runtimes
  predictionCache: PredictionCache | undefined
  fields: RequestFields
  /** The versions of an earlier process, which are loaded while Postgres does not respond. */
  origins: Readonly<Record<string, VersionOrigin>> | undefined
  onLoaded: (loaded: LoadedVersion) => void
}

export function createVersionLoader(deps: LoaderDeps): FollowerOptions['load'] {
  const { predictionCache, fields } = deps
  const known = new Map(Object.entries(deps.origins ?? {}))

  const originOf = async (version: string): Promise<VersionOrigin> => {
    try {
      const { model, artifactDigest, signature } = await findArtifact(deps.store, version)
      return { model, artifactDigest, signature: signature?.toString('base64') ?? '' }
    } catch (error) {
      const before = known.get(version)
      if (before !== undefined && isError(error, 'postgres_unavailable')) return before
      throw error
    }
  }
  const open = patiently((...given) => openVersion(...given, deps.runtimes))
  return async (version, recalled) => {
    const origin = (recalled ? known.get(version) : undefined) ?? (await originOf(version))
    const signature = origin.signature === '' ? undefined : Buffer.from(origin.signature, 'base64')
    verifyArtifact(deps.artifactKeys, { ...origin, version, signature })
    const { manifest, files } = await deps.cache.fetch(origin.artifactDigest)
    let loaded = await open(version, manifest, files)
    // Only a model of another thread, process or server has `trouble`, and only such a model is slow enough for a cache. The keys of the cache hold no texts.
    if (predictionCache !== undefined && loaded.predictor.trouble !== undefined && !takesTexts(loaded))
      loaded.predictor = predictionCache.cached(loaded.predictor)
    loaded = await withComputedColumns(loaded)
    fields.addFeatures(manifest.model, manifest.features)
    loaded.ignores = (field) => fields.isKnown(manifest.model, field)
    loaded.maxFields = () => fields.count(manifest.model)
    known.set(version, origin)
    // The key of the stored signature may have been rotated since.
    if (recalled)
      void originOf(version)
        .then((fresh) => known.set(version, fresh))
        .catch(() => {})
    deps.onLoaded(loaded)
    return { origin, loaded: withInjectedFault(loaded) }
  }
}

/** How long a route waits for the golden rows of a version that is answered elsewhere, and how long what was found is kept for it. */
const patienceMs = 200
const keptMs = 60_000

type Open = (version: string, manifest: Manifest, files: ArtifactFiles) => Promise<LoadedVersion>

/**
 * Opens a version that a server of others answers without waiting for it: routes of all models are followed in turn, and a lease ends
 * meanwhile. Throws `model_unavailable` until its golden rows were asked; a later call returns what was found.
 */
function patiently(openWhole: Open): Open {
  const opening = new Map<string, Promise<LoadedVersion>>()
  return async (version, manifest, files) => {
    if (!isRemote(manifest)) return openWhole(version, manifest, files)
    let found = opening.get(version)
    if (found === undefined) {
      found = openWhole(version, manifest, files)
      opening.set(version, found)
      const forget = () => setTimeout(() => opening.delete(version), keptMs).unref()
      found.then(forget, forget)
    }
    const first = await Promise.race([found, pause(patienceMs, undefined, { ref: false })])
    if (first === undefined)
      throw new DomainError(
        'model_unavailable',
        `${version} is answered elsewhere, and is asked its golden rows`,
      )
    opening.delete(version)
    return first
  }
}
