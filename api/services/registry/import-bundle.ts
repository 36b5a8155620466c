/**
 * Imports a bundle of another installation: verifies its signature and stores its artifact. The retrain workflow then evaluates and
 * releases it.
 */
import { DomainError } from '../../../domain/errors.ts'
import { bundleManifest, type BroughtArtifact } from '../../../domain/model/brought-artifact.ts'
import type { BundleOrigin } from '../../../domain/model/bundle-origin.ts'
import { bundleOriginOf, issueOfForm } from '../../../domain/registry/bundle.ts'
import { openBundle } from '../../../store/bundles/bundle.ts'
import { listTrustedSigners } from '../../../store/bundles/trusted-signers.ts'
import { getModel } from '../../../store/registry/models.ts'
import type { Actor } from '../../auth/authentication.ts'
import { requireModelAccess } from '../../auth/authorization.ts'
import type { ApiDeps } from '../../deps.ts'
import { maxBytesOf } from '@tenure/predictors'

export interface ImportedBundle {
  model: string
  brought: BroughtArtifact
  bundle: BundleOrigin
}

/** Imports a bundle. Throws `bundle_untrusted`, `bundle_invalid`, and `artifact_invalid` for a model that does not fit. */
export async function importBundle(
  { store, artifacts, signersFolder }: Pick<ApiDeps, 'store' | 'artifacts' | 'signersFolder'>,
  actor: Actor,
  bytes: Buffer,
): Promise<ImportedBundle> {
  const { document, signer, manifest, manifestBytes, files } = openBundle(
    bytes,
    await listTrustedSigners(signersFolder),
  )
  const { model } = document
  requireModelAccess(actor, model)
  const { definition } = await getModel(store, model)
  const issue = issueOfForm(manifest, { features: definition.features, output: definition.label.output })
  if (issue !== undefined) throw new DomainError('artifact_invalid', issue)
  for (const [name, content] of Object.entries(files)) {
    const limit = maxBytesOf(manifest, name)
    if (content.byteLength > limit)
      throw new DomainError('artifact_invalid', `${name} has ${content.byteLength} bytes, more than ${limit}`)
    await artifacts.put('artifacts', content)
  }
  // The manifest is stored last, so that its files already exist.
  const stored = await artifacts.put('artifacts', manifestBytes)
  const bundle = bundleOriginOf(document, signer)
  return { model, bundle, brought: { file: bundleManifest, ...stored, bundle } }
}
