/**
 * Compares a model file of the project with the stored model. A retraining uses the stored model, so an edit without `tenure models sync`
 * would silently have no effect.
 */
import { path, type Client } from '../client/client.ts'

/**
 * Returns undefined if they are equal, if the project has no such file, and if the comparison fails, because the hint must not fail the
 * command.
 */
export async function hintOfChangedFile(
  api: Client,
  model: string,
  directory?: string,
): Promise<string | undefined> {
  try {
    const { definition_digest: stored } = await api.get<{ definition_digest?: string }>(
      path`/v1/models/${model}`,
    )
    if (stored === undefined) return undefined
    const { loadModelsInChild } = await import('./load-models.ts')
    const { fileOfModel } = await import('../../models/index.ts')
    const file = await fileOfModel(model, directory)
    const { models, broken } = await loadModelsInChild({ directory, only: file ?? `${model}.ts` })
    const [faulty] = broken
    if (faulty !== undefined)
      return `models/${faulty.file} is invalid, so the model is used as it was synced before: ${faulty.issues[0]}`
    const { digestOfJson } = await import('../../store/artifacts.ts')
    const [here] = models
    if (here === undefined || digestOfJson(here.definition) === stored) return undefined
    return `models/${file} has changed since it was synced, and the model is used as it was then: run \`tenure models sync\`, then repeat this command.`
  } catch {
    return undefined
  }
}

/** Returns undefined for a model with a champion, and where its policy asks for an approval. */
export async function hintOfFirstVersion(api: Client, model: string): Promise<string | undefined> {
  try {
    const { champion, release_policy: policy } = await api.get<{
      champion?: object
      release_policy?: { approval?: { approvers?: number } }
    }>(path`/v1/models/${model}`)
    return champion === undefined && policy?.approval?.approvers === 0
      ? `The first version of ${model} needs an approval, and approval.by of its release is 0: it will be registered, and an operator must release it. Set it to 1 and run \`tenure models sync\`.`
      : undefined
  } catch {
    return undefined
  }
}
