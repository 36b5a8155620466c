/** Stores the model of a bundle as an artifact of this installation. Replays its golden rows and makes its profile from local rows. */
import { DomainError } from '../../domain/errors.ts'
import type { FeatureRow } from '../../domain/model/features.ts'
import { broughtFacts, type Manifest } from '../../domain/model/manifest.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { bundleText, type BundleOrigin } from '../../domain/model/bundle-origin.ts'
import { issueOfForm } from '../../domain/registry/bundle.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import type { LabelledRows } from '../data/rows.ts'
import type { ArtifactReader } from './reader.ts'
import { checkReplay, type StoredForeign } from './store-foreign.ts'
import { storeArtifact } from './write-artifact.ts'

export interface BundledArtifact {
  definition: ModelDefinition
  /** The manifest in the bundle; its files are already in the artifact store. */
  manifest: Manifest
  data: LabelledRows
  bundle: BundleOrigin
}

/** Throws `artifact_invalid` when features, output or golden answers do not match. */
export async function storeBundled(
  artifacts: Artifacts,
  reader: ArtifactReader,
  { definition, manifest, data, bundle }: BundledArtifact,
): Promise<StoredForeign> {
  const { features, label } = definition
  const { artifact, library, files, preprocessing: fits, golden, training } = manifest
  const issue = issueOfForm(manifest, { features, output: label.output })
  if (issue !== undefined) throw new DomainError('artifact_invalid', issue)
  const answer = (rows: readonly FeatureRow[]) => reader.answer(manifest, rows)
  await checkReplay({ rows: golden.instances, outputs: golden.outputs }, answer)
  const { hyperparameters, seed } = training
  const artifactDigest = await storeArtifact(artifacts, {
    definition,
    artifact,
    library,
    files,
    fits,
    data,
    training: {
      ...broughtFacts,
      hyperparameters,
      seed,
      trainedOn: bundleText(bundle),
      bundle,
    },
    answer,
  })
  return { artifactDigest, library: library ?? 'tensorflow', unused: [] }
}
