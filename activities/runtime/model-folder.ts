/** Lays out the files that a model was synced with, for the programs that run them. */
import { DomainError, isError } from '../../domain/errors.ts'
import { fieldOfCode } from '../../domain/installation/model-files.ts'
import { asStored, changedFields } from '../../domain/installation/plan.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { hasPython } from '../../models/define/python-model.ts'
import { modelsDirectory } from '../../models/index.ts'
import { digestOf } from '../../store/artifacts.ts'
import { findWaitingFiles, getModelFiles, withModelFiles } from '../../store/registry/model-files.ts'
import { getModel } from '../../store/registry/models.ts'
import type { Deps } from '../deps.ts'
import { runChild } from './child-process.ts'
import type { DefinitionJob } from './definition-child.ts'
import { withHeartbeat } from './heartbeat.ts'

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
    const field = fieldOfCode(definition, await definitionOf({ model, modelsDirectory }))
    if (field !== undefined)
      throw new DomainError(
        'training_failed',
        `the files of ${model} define another ${field} than what was approved with them, so none of them runs: send them again with \`tenure models sync\``,
      )
    return work(modelsDirectory)
  })
}

const definitionOf = (job: DefinitionJob, limitMs = silentMs): Promise<ModelDefinition> =>
  withHeartbeat(({ signal }) =>
    runChild({ file: 'activities/runtime/definition-child.ts', job, signal, silentMs: limitMs }),
  )

/**
 * Loads the files that wait and that a person has approved, and returns what speaks against applying them. Throws `command_refused` for a model
 * without such files, and `training_interrupted` when nothing was heard of them for `limitMs`: a busy machine says nothing against files.
 */
export const loadFiles =
  ({ store }: Pick<Deps, 'store'>, limitMs?: number) =>
  async ({ model }: { model: string }): Promise<{ issue?: string }> => {
    const files = await findWaitingFiles(store, model)
    if (files?.decidedBy === undefined)
      throw new DomainError('command_refused', `no person has approved files of ${model}`)
    const { archive, definition } = files
    return withModelFiles(archive, async (modelsDirectory, names) => {
      // The worker that trains has it, and compares them.
      if (!names.has(`${model}.ts`) && !(await hasPython())) return {}
      try {
        const defined = await definitionOf({ model, modelsDirectory }, limitMs)
        const [field] = changedFields(definition, asStored(defined))
        return field === undefined
          ? {}
          : { issue: `the files define another ${field.path} than the data that came with them` }
      } catch (error) {
        if (isError(error, 'training_interrupted') && error.context['isSilent'] !== true)
          return { issue: `the files do not load: ${error.message}` }
        if (isError(error, 'invalid_model_file')) return { issue: error.message }
        throw error
      }
    })
  }
