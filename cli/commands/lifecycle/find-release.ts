/** Finds the release that the command line names. */
import type { Client } from '../../client/client.ts'
import type { ReleaseAnswer } from '../../client/responses.ts'

/** Finds a release by its id, the latest of a version by the version's name, or the latest of a model by the model's name. */
export async function findReleaseId(client: Client, named: string): Promise<string> {
  if (named.startsWith('rel_')) return named
  const [, model] = /^(.+)_v\d+\.\d+\.\d+$/.exec(named) ?? []
  const { releases } = await client.get<{ releases: ReleaseAnswer[] }>('/v1/releases', {
    model: model ?? named,
  })
  const found = model === undefined ? releases[0] : releases.find(({ version }) => version === named)
  return found?.id ?? named
}
