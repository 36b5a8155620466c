/** Finds the release that the command line names. */
import { failure, type Client } from '../../client/client.ts'
import type { ReleaseAnswer, RetrainingAnswer } from '../../client/responses.ts'
import { requireModel } from '../list.ts'

/**
 * Finds a release by its id, the latest of a version by the version's name, or the latest of a model by the model's name. For a model
 * without a release, throws what its last retraining led to; for an unknown one, `model_not_found`.
 */
export async function findReleaseId(client: Client, named: string): Promise<string> {
  if (named.startsWith('rel_')) return named
  const [, model] = /^(.+)_v\d+\.\d+\.\d+$/.exec(named) ?? []
  const { releases } = await client.get<{ releases: ReleaseAnswer[] }>('/v1/releases', {
    model: model ?? named,
    limit: model === undefined ? 1 : 1_000,
  })
  if (model === undefined && releases.length === 0) await explainAbsence(client, named)
  const found = model === undefined ? releases[0] : releases.find(({ version }) => version === named)
  return found?.id ?? named
}

async function explainAbsence(client: Client, model: string): Promise<void> {
  const { retrainings } = await client.get<{ retrainings: RetrainingAnswer[] }>('/v1/retrainings', {
    model,
    limit: 1,
  })
  const [last] = retrainings
  if (last === undefined) {
    await requireModel(client, model)
    throw failure({
      code: 'release_not_found',
      detail: `${model} has had no release and no retraining`,
      remedy: `Start one: \`tenure retrain ${model} --watch\`.`,
    })
  }
  const ended =
    last.outcome === undefined ? 'still runs' : `ended: ${last.message ?? last.outcome.replaceAll('_', ' ')}`
  throw failure({
    code: 'release_not_found',
    detail: `${model} has had no release; its last retraining (${last.id}) ${ended}`,
    remedy: `Its checks and gates: \`tenure retrainings show ${model}\`.`,
  })
}
