/**
 * Inserts a finished training that reuses the network of another training. An evaluation reads a snapshot and a network, regardless of
 * where the network was trained. A training takes a second of CPU time.
 */
import { getManifest, putManifest } from '../../../store/artifacts.ts'
import { beginTraining, endTraining, getTraining } from '../../../store/training/trainings.ts'
import type { Deps } from '../../../activities/deps.ts'

export interface SameNetwork {
  /** The training whose network is reused. */
  of: string
  /** The new training. */
  id: string
  snapshotDigest: string
}

/** Writes the network under a new seed as another artifact, because an evaluation rejects the champion's own artifact. */
export async function trainedAgain(
  { store, artifacts }: Deps,
  { of, id, snapshotDigest }: SameNetwork,
): Promise<string> {
  const trained = await getTraining(store, of)
  const { model, codeDigest, dependenciesDigest } = trained
  const manifest = await getManifest(artifacts, trained.artifactDigest!)
  const seed = trained.seed + 1
  const training = { ...manifest.training, snapshot: snapshotDigest, seed }
  const artifactDigest = await putManifest(artifacts, { ...manifest, training })
  const begun = { id, model, snapshotDigest, seed, hyperparameters: {}, codeDigest, dependenciesDigest }
  const { attempts: attempt } = await beginTraining(store, begun)
  await endTraining(store, { id, attempt, status: 'done', artifactDigest, codeDigest, dependenciesDigest })
  return id
}
