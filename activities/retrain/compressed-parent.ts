/** Verifies the parent of a compressed version, and measures both beside each other. */
import { DomainError } from '../../domain/errors.ts'
import type { CompressionCost } from '../../domain/evaluation/compression.ts'
import { defaultQualification } from '../../domain/model/qualification.ts'
import type { CompressionOrder } from '../../domain/model/compression.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { verifyArtifact } from '../../store/signing/artifact-signatures.ts'
import { openPublicKeys } from '../../store/signing/signing-key.ts'
import type { Deps } from '../deps.ts'
import { runServingChild } from '../runtime/serving-child.ts'

/** Verifies the signature of the parent. Throws `forbidden` for another artifact than that of the version. */
export async function verifyParent(
  { store, config }: Pick<Deps, 'store' | 'config'>,
  { version, artifact }: Pick<CompressionOrder, 'version' | 'artifact'>,
): Promise<void> {
  const parent = await getVersion(store, version)
  if (parent.artifactDigest !== artifact)
    throw new DomainError('forbidden', `${artifact} is not the artifact of ${version}`)
  verifyArtifact(openPublicKeys(config.signing, 'artifacts'), parent)
}

/** Measures both in the process of the qualification. Throws `artifact_invalid` for an artifact that cannot be served. */
export async function costBesideParent(
  { artifactRoot }: Pick<Deps['config'], 'artifactRoot'>,
  { child, parent }: { child: string; parent: string },
): Promise<CompressionCost> {
  const found = await runServingChild<{ ok: true; beside: CompressionCost }>(
    [artifactRoot, child, 'child', '', parent],
    { script: 'api/processes/qualifier.ts', timeoutMs: defaultQualification.timeoutMs },
  )
  if (!found.ok)
    throw new DomainError('artifact_invalid', `the versions could not be measured: ${found.message}`)
  return found.beside
}
