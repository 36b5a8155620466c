/** Lays out the files that a model was synced with, for the programs that run them. */
import { DomainError } from '../../domain/errors.ts'
import { modelsDirectory } from '../../models/index.ts'
import { digestOf } from '../../store/artifacts.ts'
import { getModelFiles, withModelFiles } from '../../store/registry/model-files.ts'
import { getModel } from '../../store/registry/models.ts'
import type { Deps } from '../deps.ts'

/**
 * Calls `work` with the folder of the model file: that of the project, or for a model whose files were sent a new one that no earlier run
 * has changed, which is removed afterwards. `folder` stands in for both.
 */
export async function withModelFolder<T>(
  { store }: Pick<Deps, 'store'>,
  { model, folder }: { model: string; folder?: string | undefined },
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const { filesDigest: digest } = await getModel(store, model)
  if (folder !== undefined || digest === undefined) return work(folder ?? modelsDirectory)
  const { archive } = await getModelFiles(store, { model, digest })
  if (digestOf(archive) !== digest)
    throw new DomainError('artifact_corrupt', `the files ${digest} of ${model} have other bytes`, { digest })
  return withModelFiles(archive, work)
}
