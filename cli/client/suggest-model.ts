/** Suggests a model for a mistyped name, among the models that the key can access. */
import type { Client } from './client.ts'
import { didYouMean } from './did-you-mean.ts'
import type { ModelAnswer } from './responses.ts'

/** Returns `Did you mean flight-delay?` for the name in quotes in `detail`; undefined if none is similar. */
export async function suggestModel(client: Client, detail: string): Promise<string | undefined> {
  const [, given] = /"([^"]+)"/.exec(detail) ?? []
  if (given === undefined) return undefined
  const { models } = await client.get<{ models: ModelAnswer[] }>('/v1/models').catch(() => ({ models: [] }))
  return didYouMean(
    models.map(({ name }) => name),
    given,
  )
}
