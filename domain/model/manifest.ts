/** Defines the manifest of an artifact. The artifact is this manifest plus its files, each stored by SHA-256; the digest of the manifest names the artifact. */
import type { FeatureFit } from '@tenure/predictors/features'
import type { DrillFault } from '../drill.ts'
import { DomainError } from '../errors.ts'
import type { ArtifactFormatName } from '@tenure/predictors/format-names'
import type { UnknownCategories } from './brought-artifact.ts'
import type { BundleOrigin } from './bundle-origin.ts'
import type { CompressionFacts } from './compression.ts'
import type { Features, FeatureRow } from './features.ts'
import type { ReferenceProfile } from './reference-profile.ts'
import type { Output } from '../tasks/output.ts'

export interface FileDigest {
  /** `sha256:` and 64 hexadecimal digits. */
  digest: string
  bytes: number
}

export interface Manifest {
  format: 'tenure-artifact@1'
  model: string
  /** Default: TensorFlow.js layers. */
  artifact?: ArtifactFormatName
  /** The library that wrote the files, with its version when the files name it. */
  library?: string
  features: Features
  /**
   * The feature order of rows without names, as the model file lists them. The keys of `features` are sorted when a manifest is stored.
   */
  featureOrder: string[]
  output: Output
  /** In the order of the model's inputs. */
  preprocessing: FeatureFit[]
  /** By name; the format determines the names. */
  files: Record<string, FileDigest>
  /** Rows with the outputs computed in training, which every predictor must reproduce to 1e-5. */
  golden: { instances: FeatureRow[]; outputs: number[][] }
  /** The profile of the training rows; absent for artifacts made elsewhere. */
  profile?: ReferenceProfile
  /** Of a brought artifact, the largest share first; absent without any, or where its file does not tell the categories that it knows. */
  unknownCategories?: UnknownCategories[]
  /** Of code of Python: the types of its columns in the training frame, as pandas names them, where something tells them. */
  types?: Record<string, string>
  /** What the libraries of the model have warned of in its training, at its load and at its first answers; absent without any. */
  warnings?: string[]
  /** The injected fault of a drill's version. */
  drill?: DrillFault
  training: TrainingFacts
}

/** Where an artifact is from that no training of its model file has made: brought from elsewhere, or a network that has learnt the answers of a version. */
export type ForeignOrigin = 'brought' | 'distilled'

export interface TrainingFacts {
  /** Absent: trained here by the model file. Unknown facts about another artifact are absent or `unknown`. */
  origin?: ForeignOrigin
  /** `unknown` for a brought artifact: this is the snapshot it was trained on, not the one it was evaluated on. */
  snapshot: string
  seed?: number
  code: string
  dependencies: string
  hyperparameters: Record<string, number | string | boolean>
  /** The number of training rows. */
  rows?: number
  /** What the user who brought the artifact states about its data. */
  trainedOn?: string
  /** Why the user who brought it allows unknown categories. */
  allowUnknownCategories?: string
  /** Why the user who brought it allows a pickle of another minor version of its library. */
  allowOtherVersions?: string
  /** What the source installation states about it, for an imported bundle. */
  bundle?: BundleOrigin
  /** Of a version that is its parent made smaller; the other facts are those of the parent's training. */
  compression?: CompressionFacts
}

/** The training facts of every brought artifact. */
export const broughtFacts = {
  origin: 'brought',
  snapshot: 'unknown',
  code: 'unknown',
  dependencies: 'unknown',
} as const satisfies Partial<TrainingFacts>

/** The digest of a file. Throws `artifact_invalid` when the artifact lacks the file. */
export function fileOf({ files }: Pick<Manifest, 'files'>, name: string): FileDigest {
  const found = Object.hasOwn(files, name) ? files[name] : undefined
  if (found === undefined) throw new DomainError('artifact_invalid', `the artifact has no file ${name}`)
  return found
}

/** The total bytes of all files; undefined for an artifact without files. */
export const totalBytesOf = (files: Manifest['files'] | undefined): number | undefined =>
  files && Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0)
