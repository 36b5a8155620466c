/** Says which command brings a model its first champion, so that each error about a model without one names what to type next. */
import { DomainError } from '../../domain/errors.ts'
import type { Database } from '../postgres.ts'
import { getModel } from '../registry/models.ts'
import { findLatestVersion } from '../registry/versions.ts'
import { findOpenRelease, listReleasesOfVersion } from './releases.ts'

/** Returns the next step of a model that has no champion, as one imperative sentence with its command. Throws `model_not_found`. */
export async function firstStepOf(database: Database, name: string): Promise<string> {
  const { name: model, definition } = await getModel(database, name)
  const open = await findOpenRelease(database, model)
  if (open !== undefined) {
    const { id, version, stage } = open.state
    return stage === 'awaiting_approval'
      ? `Approve the release of ${version}: \`tenure approve ${id}\`.`
      : `Follow the release of ${version} to its end: \`tenure releases watch ${id}\`.`
  }
  const latest = await findLatestVersion(database, model)
  if (latest !== undefined && latest.rolledBackAt === undefined) {
    const again = `\`tenure releases start ${latest.version}\``
    const [ended] = await listReleasesOfVersion(database, latest.version)
    return ended === undefined
      ? `Release the latest version: ${again}.`
      : `Read why the release of ${latest.version} ended: \`tenure releases show ${ended.state.id}\`; then bring or train another version, or start it again: ${again}.`
  }
  return definition.isBrought === true
    ? `Bring a version to release: \`tenure versions register ${model} --artifact FILE\`.`
    : `Train and release a version: \`tenure retrain ${model} --watch\`.`
}

/** The error of a model without a champion, with its next step. Throws `model_not_found`. */
export const noChampion = async (
  database: Database,
  model: string,
  message = `${model} has no champion yet`,
): Promise<DomainError> =>
  new DomainError('no_champion', message, { remedy: await firstStepOf(database, model) })
