/** Loads a model file for a run that began with its definition. */
import { DomainError } from '../../domain/errors.ts'
import { fieldOfCode } from '../../domain/installation/model-files.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { loadModel, type LoadedModel } from '../../models/index.ts'

/** Throws `training_failed` when the file has come to define something else in more than settings. */
export async function loadUnchanged(
  definition: ModelDefinition,
  modelsDirectory: string,
): Promise<LoadedModel> {
  const model = await loadModel(definition.name, modelsDirectory)
  if (fieldOfCode(definition, model.definition) !== undefined)
    throw new DomainError(
      'training_failed',
      `${model.file} differs from the definition that the training began with: retrain, after \`tenure models sync\` where the change is not synced yet`,
    )
  return model
}
