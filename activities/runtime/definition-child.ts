/** Loads a model file and returns what it defines, in a process of its own. */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { loadModel } from '../../models/index.ts'
import { takeJob } from './child-protocol.ts'

export interface DefinitionJob {
  model: string
  modelsDirectory: string
}

takeJob<DefinitionJob, never, ModelDefinition>(
  async ({ model, modelsDirectory }) => (await loadModel(model, modelsDirectory)).definition,
)
