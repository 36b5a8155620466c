/** Resolves the name of a version: full name, model@v1.2.0, model@champion or model@latest. */
import { DomainError } from '../../domain/errors.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { firstStepOf } from '../../store/release/first-release.ts'
import type { Database } from '../../store/postgres.ts'
import { findLatestVersion, getVersion, type Version } from '../../store/registry/versions.ts'

/** Resolves a version. Throws `invalid_request` for an invalid name, `model_not_found`, and `version_not_found` for an unknown version. */
export async function resolveVersion(store: Database, name: string): Promise<Version> {
  const [, model = '', which = ''] = /^(.+)@(champion|latest|v?\d+\.\d+\.\d+)$/.exec(name) ?? []
  if (which === '') {
    if (name.includes('@') || !/_v\d+\.\d+\.\d+$/.test(name))
      throw new DomainError(
        'invalid_request',
        `${JSON.stringify(name)} is not a version; use model_v1.2.0, model@v1.2.0, model@champion or model@latest`,
      )
    return getVersion(store, name)
  }
  const lack = async (what: string) =>
    new DomainError('version_not_found', `${model} has no ${what} yet`, {
      remedy: await firstStepOf(store, model),
    })
  if (which === 'champion') {
    const champion = await findChampion(store, model)
    if (champion === undefined) throw await lack('champion')
    return getVersion(store, champion.version)
  }
  if (which === 'latest') {
    const latest = await findLatestVersion(store, model)
    if (latest === undefined) throw await lack('version')
    return latest
  }
  return getVersion(store, `${model}_v${which.replace(/^v/, '')}`)
}
