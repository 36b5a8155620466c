/** Adopts a brought artifact instead of training: gives it a manifest; evaluation and release are those of a trained one. */
import type { BroughtArtifact } from '../../domain/model/brought-artifact.ts'
import { getModel } from '../../store/registry/models.ts'
import { bringCopies, shareArtifact } from '../../store/objects/artifact-copies.ts'
import { beginTraining, endTraining, getTraining } from '../../store/training/trainings.ts'
import type { AdopterJob } from '../artifact/adopter.ts'
import type { StoredForeign } from '../artifact/store-foreign.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { failAttempt } from '../trainers/attempt.ts'
import { runJob } from '../runtime/run-job.ts'
import { untilStored } from '../runtime/until-stored.ts'

export interface AdoptInput {
  /** Adopts an id once. */
  trainingId: string
  model: string
  /** Its training rows give the profile and the golden rows of the version. */
  snapshotDigest: string
  artifact: BroughtArtifact
}

export interface AdoptResult {
  trainingId: string
  artifactDigest: string
}

/** Throws `artifact_invalid` for a file that does not fit the model, with the reason. */
export const adopt =
  ({ store, artifacts, config, log }: Deps) =>
  async ({ trainingId: id, model, snapshotDigest, artifact }: AdoptInput): Promise<AdoptResult> => {
    const { definition } = await getModel(store, model)
    const training = await beginTraining(store, {
      id,
      model,
      snapshotDigest,
      seed: 0,
      hyperparameters: {},
      codeDigest: 'unknown',
      dependenciesDigest: 'unknown',
      buildId: config.buildId,
    })
    const { attempts: attempt, status, artifactDigest: before } = training
    if (status === 'done' && before !== undefined) return { trainingId: id, artifactDigest: before }
    const job: AdopterJob = {
      definition,
      snapshotDigest,
      artifactRoot: config.artifactRoot,
      brought: artifact,
    }
    try {
      await withHeartbeat(() =>
        bringCopies(artifacts, {
          snapshot: snapshotDigest,
          files: [artifact.digest, artifact.columns],
          artifacts: artifact.bundle === undefined ? [] : [artifact.digest],
        }),
      )
      const { artifactDigest, library, unused } = await runJob<StoredForeign>({
        what: `reading the artifact of ${model}`,
        file: 'activities/artifact/adopter.ts',
        job,
        limitMb: config.trainingMemoryMb,
      })
      await withHeartbeat(() =>
        untilStored(log, `the artifact of ${model}`, () => shareArtifact(artifacts, artifactDigest)),
      )
      const [name = library, version = 'unknown'] = library.split(' ')
      const origin = {
        codeDigest: 'unknown',
        dependenciesDigest: 'unknown',
        dependencies: { [name]: version },
      }
      await endTraining(store, { id, attempt, status: 'done', artifactDigest, ...origin })
      log.info({ training: id, model, artifact: artifactDigest, library, unused }, 'adopted')
      const ended = await getTraining(store, id)
      return { trainingId: id, artifactDigest: ended.artifactDigest ?? artifactDigest }
    } catch (error) {
      await failAttempt({ store }, training, error)
      throw error
    }
  }
