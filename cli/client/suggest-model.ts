/** Suggests the model whose name was probably meant, of those that the key has access to. */
import type { Client } from './client.ts'
import { didYouMean } from './did-you-mean.ts'
import type { ModelAnswer } from './responses.ts'

/** `Did you mean flight-delay?` for the name between the quotes; undefined without a similar one. */
export async function suggestModel(client: Client, detail: string): Promise<string | undefined> {
  const [, given] = /"([^"]+)"/.exec(detail) ?? []
  if (given === undefined) return undefined
  const { models } = await client.get<{ models: ModelAnswer[] }>('/v1/models').catch(() => ({ models: [] }))
  return didYouMean(
    models.map(({ name }) => name),
    given,
  )
}
