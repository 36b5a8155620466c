/** Lays out the files that a model was synced with, for the programs that run them. */
import { DomainError } from '../../domain/errors.ts'
import { fieldOfCode } from '../../domain/installation/model-files.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { modelsDirectory } from '../../models/index.ts'
import { digestOf } from '../../store/artifacts.ts'
import { getModelFiles, withModelFiles } from '../../store/registry/model-files.ts'
import { getModel } from '../../store/registry/models.ts'
import type { Deps } from '../deps.ts'
import { runChild } from './child-process.ts'
import type { DefinitionJob } from './definition-child.ts'

/** More than a file takes that is loaded on a busy machine. */
const silentMs = 120_000

/**
 * Calls `work` with the folder of the model file: that of the project, or for a model whose files were sent a new one that no earlier run
 * has changed, which is removed afterwards. `folder` stands in for both. The files that were sent run here for the first time, so what they
 * define is compared with the data that was approved with them: throws `training_failed` where it is something else.
 */
export async function withModelFolder<T>(
  { store }: Pick<Deps, 'store'>,
  { model, folder }: { model: string; folder?: string | undefined },
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const { filesDigest: digest, definition } = await getModel(store, model)
  if (folder !== undefined || digest === undefined) return work(folder ?? modelsDirectory)
  const { archive } = await getModelFiles(store, { model, digest })
  if (digestOf(archive) !== digest)
    throw new DomainError('artifact_corrupt', `the files ${digest} of ${model} have other bytes`, { digest })
  return withModelFiles(archive, async (modelsDirectory) => {
    const defined = await runChild<never, ModelDefinition>({
      file: 'activities/runtime/definition-child.ts',
      job: { model, modelsDirectory } satisfies DefinitionJob,
      signal: AbortSignal.timeout(silentMs),
      silentMs,
    })
    const field = fieldOfCode(definition, defined)
    if (field !== undefined)
      throw new DomainError(
        'training_failed',
        `the files of ${model} define another ${field} than what was approved with them, so none of them runs: send them again with \`tenure models sync\``,
      )
    return work(modelsDirectory)
  })
}
