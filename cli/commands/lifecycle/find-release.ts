/** Finds the release that a command line names. */
import type { Client } from '../../client/client.ts'
import type { ReleaseAnswer } from '../../client/responses.ts'

/** A release by its id, or the latest of a model by the model's name. */
export async function findReleaseId(client: Client, named: string): Promise<string> {
  if (named.startsWith('rel_')) return named
  const { releases } = await client.get<{ releases: ReleaseAnswer[] }>('/v1/releases', { model: named })
  return releases[0]?.id ?? named
}
