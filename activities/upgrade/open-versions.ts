/** Loads the versions that serve with the serving code of this build, as replicas will after the upgrade. Changes nothing. */
import { reasonOf } from '../../domain/errors.ts'
import type { OpenedVersions } from '../../domain/installation/checked-build.ts'
import { listServingVersions } from '../../store/registry/artifact-retention.ts'
import type { Deps } from '../deps.ts'
import { qualifyVersion } from '../release/qualify.ts'

/** Files and keys that this machine lacks say nothing about the build. */
const ofThisMachine = ['artifact_corrupt', 'artifact_untrusted']

export async function openServingVersions(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config'>,
): Promise<OpenedVersions> {
  const result: OpenedVersions = { opened: 0, notComparable: [], refused: [] }
  for (const { version, digest } of await listServingVersions(deps.store)) {
    try {
      const found = await qualifyVersion(deps, { version, digest })
      if (found.ok) result.opened++
      else if (ofThisMachine.includes(found.code)) result.notComparable.push(`${version}: ${found.message}`)
      else result.refused.push({ version, problem: `${found.message} (${found.code})` })
    } catch (error) {
      result.notComparable.push(`${version}: ${reasonOf(error)}`)
    }
  }
  return result
}
