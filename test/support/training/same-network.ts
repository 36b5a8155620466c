/**
 * A finished training as rows, with the network of another one: an evaluation reads a snapshot and a network, and does not ask where the
 * network was trained. A training takes a second of processor time.
 */
import { getManifest, putManifest } from '../../../store/artifacts.ts'
import { beginTraining, endTraining, getTraining } from '../../../store/training/trainings.ts'
import type { Deps } from '../../../activities/deps.ts'

export interface SameNetwork {
  /** The training whose network it has. */
  of: string
  /** The training that results. */
  id: string
  snapshotDigest: string
}

/** Its artifact is one of its own, because an artifact of the champion is not judged again. */
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
