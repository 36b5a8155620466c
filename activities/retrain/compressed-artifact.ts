/** Names the artifact that a version is compressed from. The retrain workflow then makes, evaluates and releases the version. */
import { DomainError } from '../../domain/errors.ts'
import type { BroughtArtifact } from '../../domain/model/brought-artifact.ts'
import { issueOfParent, type Compression } from '../../domain/model/compression.ts'
import { findDeletedAt } from '../../store/registry/artifact-retention.ts'
import { getModel } from '../../store/registry/models.ts'
import { findVersion } from '../../store/registry/versions.ts'
import type { Database } from '../../store/postgres.ts'

/**
 * Throws `model_not_found` without the model, `version_not_found` for a version of another model, `artifact_invalid` for one whose files cannot be compressed, and
 * `command_refused` for one that was rolled back or whose files were deleted.
 */
export async function compressedArtifact(
  store: Database,
  model: string,
  compression: Compression,
): Promise<BroughtArtifact> {
  const { version } = compression
  const parent = await findVersion(store, version)
  const another = { remedy: `Compress another version: \`tenure versions ${model}\` lists them.` }
  if (parent?.model !== model) {
    await getModel(store, model)
    throw new DomainError(
      'version_not_found',
      `${JSON.stringify(version)} is not a version of ${JSON.stringify(model)}`,
      another,
    )
  }
  const { manifest, artifactDigest, rolledBackAt } = parent
  const issue = issueOfParent({ ...manifest, to: compression.to })
  if (issue !== undefined)
    throw new DomainError(
      'artifact_invalid',
      `${version} cannot be compressed to ${compression.to}: ${issue}`,
      {
        remedy: 'Use a method that its artifact takes, or compress another version.',
      },
    )
  if (rolledBackAt !== undefined)
    throw new DomainError(
      'command_refused',
      `${version} was rolled back at ${rolledBackAt}, and a version that must answer like it would repeat its harm`,
      another,
    )
  const deletedAt = await findDeletedAt(store, artifactDigest)
  if (deletedAt !== undefined)
    throw new DomainError(
      'command_refused',
      `the files of ${version} were deleted at ${deletedAt} to keep artifacts within their budget`,
      another,
    )
  const [file, stored] = Object.entries(manifest.files)[0]!
  return {
    file,
    ...stored,
    compression: { ...compression, artifact: artifactDigest },
  }
}
