/** Suggests the model whose name was probably meant, of those that the key has access to. */
import { Command } from 'commander'
import type { Client } from './client.ts'
import type { ModelAnswer } from './responses.ts'

/** `Did you mean flight-delay?` for the name between the quotes; undefined without a similar one. */
export async function suggestModel(client: Client, detail: string): Promise<string | undefined> {
  const [, given] = /"([^"]+)"/.exec(detail) ?? []
  if (given === undefined) return undefined
  const { models } = await client.get<{ models: ModelAnswer[] }>('/v1/models').catch(() => ({ models: [] }))
  // Compares the names as commander compares those of commands.
  const names = new Command().exitOverride().configureOutput({ writeErr: () => {}, outputError: () => {} })
  for (const { name } of models) names.command(name)
  try {
    names.parse([given], { from: 'user' })
    return undefined
  } catch (error) {
    return /Did you mean .*\?/.exec((error as Error).message)?.[0]
  }
}
