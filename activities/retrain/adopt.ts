/** Adopts a brought artifact instead of training: gives it a manifest; evaluation and release are those of a trained one. */
import { isRemote, needsQuantizer, type Quantizer } from '@tenure/predictors/format-names'
import { DomainError } from '../../domain/errors.ts'
import { codeFolder, type BroughtArtifact } from '../../domain/model/brought-artifact.ts'
import { maxTaughtRequests } from '../../domain/model/compression.ts'
import { getManifest } from '../../store/artifacts.ts'
import { getModel } from '../../store/registry/models.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { beginTraining } from '../../store/training/trainings.ts'
import type { AdopterJob } from '../artifact/adopter.ts'
import type { StoredForeign } from '../artifact/store-foreign.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat, withInstallHeartbeat } from '../runtime/heartbeat.ts'
import { failAttempt, finishAttempt } from '../trainers/attempt.ts'
import { runJob } from '../runtime/run-job.ts'
import { adoptCode } from './adopt-code.ts'
import { verifyParent } from './compressed-parent.ts'
import { takeLoggedRequests } from './logged-requests.ts'
import { withQuantizer } from './quantizer.ts'

export interface AdoptInput {
  /** Adopts an id once. */
  trainingId: string
  model: string
  /** Its training rows give the profile and the golden rows of the version. */
  snapshotDigest: string
  /** Absent for a run that trains. */
  artifact?: BroughtArtifact
}

export interface AdoptResult {
  trainingId: string
  artifactDigest: string
}

/** An artifact from elsewhere does not state what it was trained with. */
const unknownCode = { codeDigest: 'unknown', dependenciesDigest: 'unknown' }

/** Throws `artifact_invalid` for a file that does not fit the model, with the reason. */
export const adopt =
  (deps: Deps) =>
  async ({ trainingId: id, model, snapshotDigest, artifact }: AdoptInput): Promise<AdoptResult> => {
    const { store, artifacts, config, log } = deps
    if (artifact === undefined) throw new DomainError('forbidden', `${id} adopts no artifact`)
    const { definition } = await getModel(store, model)
    if (artifact.compression !== undefined) await verifyParent(deps, artifact.compression)
    const training = await beginTraining(store, {
      id,
      model,
      snapshotDigest,
      seed: 0,
      hyperparameters: {},
      ...unknownCode,
      buildId: config.buildId,
    })
    const { status, artifactDigest: before } = training
    if (status === 'done' && before !== undefined) return { trainingId: id, artifactDigest: before }
    try {
      await withHeartbeat(() =>
        bringCopies(artifacts, {
          snapshot: snapshotDigest,
          files: [artifact.digest, artifact.columns],
          artifacts: [artifact.bundle && artifact.digest, artifact.compression?.artifact],
        }),
      )
      const code =
        artifact.file === codeFolder
          ? await withInstallHeartbeat(({ signal, onInstall }) =>
              adoptCode(deps, { definition, artifact, signal, onInstall }),
            )
          : undefined
      const { compression, file } = artifact
      const requests =
        compression?.to === 'distil'
          ? await takeLoggedRequests(deps, {
              definition,
              features: definition.features,
              maxRows: maxTaughtRequests,
              part: 'learning',
              answers: {
                of: compression.version,
                alone: isRemote(await getManifest(artifacts, compression.artifact)),
              },
            })
          : undefined
      const job: AdopterJob = {
        definition,
        snapshotDigest,
        artifactRoot: config.artifactRoot,
        brought: code?.brought ?? artifact,
        requests,
      }
      const run = (quantizer?: Quantizer) =>
        runJob<StoredForeign>({
          what: `reading the artifact of ${model}`,
          file: 'activities/artifact/adopter.ts',
          job: { ...job, quantizer },
          limitMb: config.trainingMemoryMb,
        })
      const { artifactDigest, library, unused } =
        compression !== undefined && needsQuantizer(file, compression.to)
          ? await withInstallHeartbeat(({ signal, onInstall }) =>
              withQuantizer(
                deps,
                { trainingId: id, attempt: training.attempts, about: { model }, signal, onInstall },
                run,
              ),
            )
          : await run()
      log.info({ training: id, model, library, unused }, 'artifact read')
      const result = { artifactDigest, ...unknownCode, dependencies: code?.packages ?? packageOf(library) }
      await withHeartbeat(() => finishAttempt(deps, training, result))
      return { trainingId: id, artifactDigest }
    } catch (error) {
      await failAttempt(deps, training, error)
      throw error
    }
  }

/** The package that wrote a file, and its version: of `ONNX of skl2onnx 1.20.0`, skl2onnx. */
export function packageOf(library: string): Record<string, string> {
  const [, name = library, version = 'unknown'] = /^(?:ONNX of )?(.+?)(?: v?(\d\S*))?$/.exec(library) ?? []
  return { [name]: version }
}
