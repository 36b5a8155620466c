/** Finds a model by its file, for commands that try an edited file before it is applied. */
import { DomainError } from '../domain/errors.ts'
import type { ModelDefinition } from '../domain/model-definition.ts'
import { loadModels, modelOfFile } from '../models/index.ts'

/** Throws `invalid_model_file` with the issues of its file, and `not_found` with the names of the existing models. */
export async function findOwnModel(name: string): Promise<ModelDefinition> {
  const { models, broken } = await loadModels()
  const own = broken.find(({ file }) => modelOfFile(file) === name)
  if (own !== undefined) throw new DomainError('invalid_model_file', `${own.file}: ${own.issues.join('; ')}`)
  const model = models.find((each) => each.name === name)
  if (model === undefined)
    throw new DomainError(
      'not_found',
      `there is no model ${name} here; the models are ${models.map((each) => each.name).join(', ')}`,
    )
  return model.definition
}
