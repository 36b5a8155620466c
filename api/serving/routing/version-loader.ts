/** Loads the versions of routes: verifies their signatures, opens their models, and registers the fields that their requests may carry. */
import { setTimeout as pause } from 'node:timers/promises'
import { isCode } from '@tenure/predictors/format-names'
import { DomainError, isError } from '../../../domain/errors.ts'
import type { Database } from '../../../store/postgres.ts'
import { findArtifact } from '../../../store/serving/replicas.ts'
import { verifyArtifact } from '../../../store/signing/artifact-signatures.ts'
import type { Verifier } from '../../../store/signing/signing-key.ts'
import type { Runtimes } from '@tenure/predictors'
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
  const patience = createPatience<LoadedVersion>(({ predictor }) => predictor.close?.())
  return async (version, recalled) => {
    const origin = (recalled ? known.get(version) : undefined) ?? (await originOf(version))
    const signature = origin.signature === '' ? undefined : Buffer.from(origin.signature, 'base64')
    verifyArtifact(deps.artifactKeys, { ...origin, version, signature })
    const { manifest, files } = await deps.cache.fetch(origin.artifactDigest)
    // Replicas that run serve on when the server of a champion changes, so one that starts serves it too. Looks and monitors ask golden rows.
    const open = () => openVersion(version, manifest, files, deps.runtimes, { asksServers: false })
    let loaded = isCode(manifest)
      ? await patience(
          version,
          open,
          'is code: its packages are installed where they are missing, and its process is started',
        )
      : await open()
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

/** How long what was opened is kept for a caller that has not waited, and how long a failure is told again in place of another try. */
const keptMs = 300_000
const failedMs = 60_000

/**
 * Opens what takes long without waiting for it: routes of all models are followed in turn, and a lease ends meanwhile. The function throws
 * `model_unavailable` with the name and why it takes long, until a later call for the same name returns what was opened.
 */
export function createPatience<Opened>(close: (opened: Opened) => void, waitMs = 200) {
  const opening = new Map<string, Promise<Opened>>()
  const start = (name: string, open: () => Promise<Opened>): Promise<Opened> => {
    const found = open()
    opening.set(name, found)
    const forget = (opened?: Opened): void => {
      if (opening.get(name) !== found) return
      opening.delete(name)
      if (opened !== undefined) close(opened)
    }
    found.then(
      (opened) => setTimeout(() => forget(opened), keptMs).unref(),
      () => setTimeout(forget, failedMs).unref(),
    )
    return found
  }
  return async (name: string, open: () => Promise<Opened>, why: string): Promise<Opened> => {
    const found = opening.get(name) ?? start(name, open)
    const first = await Promise.race([found, pause(waitMs, undefined, { ref: false })])
    if (first === undefined) throw new DomainError('model_unavailable', `${name} ${why}`)
    opening.delete(name)
    return first
  }
}
