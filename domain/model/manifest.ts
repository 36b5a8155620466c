/** Defines the manifest of an artifact. The artifact is this manifest plus its files, each stored by SHA-256; the digest of the manifest names the artifact. */
import type { DrillFault } from '../drill.ts'
import { DomainError } from '../errors.ts'
import type { BundleOrigin } from './bundle-origin.ts'
import type { FeatureFit, Features, Output, FeatureRow } from './features.ts'
import type { ReferenceProfile } from './reference-profile.ts'

export interface FileDigest {
  /** `sha256:` and 64 hexadecimal digits. */
  digest: string
  bytes: number
}

/** Who reads the files of an artifact; one folder of `api/serving/formats/` each. */
export type ArtifactFormatName = 'tfjs-layers' | 'trees' | 'onnx'

export interface Manifest {
  format: 'tenure-artifact@1'
  model: string
  /** TensorFlow.js layers when absent. */
  artifact?: ArtifactFormatName
  /** The library that wrote the files, with its version where they name it. */
  library?: string
  features: Features
  /**
   * The features in the order of rows without names, as the model file lists them; older artifacts, which lack it, have that of
   * `preprocessing`. The keys of `features` are sorted when a manifest is stored.
   */
  featureOrder?: string[]
  output: Output
  /** In the order of the model's inputs. */
  preprocessing: FeatureFit[]
  /** By name; the format says which there are. */
  files: Record<string, FileDigest>
  /** Rows with the outputs of training, which every predictor must reproduce to 1e-5. */
  golden: { instances: FeatureRow[]; outputs: number[][] }
  /** The profile of the training rows; absent for artifacts made elsewhere. */
  profile?: ReferenceProfile
  /** The injected fault of a drill's version. */
  drill?: DrillFault
  training: TrainingFacts
}

export interface TrainingFacts {
  /** Trained here when absent. What is not known of a brought artifact is absent or `unknown`. */
  origin?: 'brought'
  /** `unknown` for a brought artifact: the rows that it was trained on, not those that it was evaluated on. */
  snapshot: string
  seed?: number
  code: string
  dependencies: string
  hyperparameters: Record<string, number | string | boolean>
  /** Training rows used. */
  rows?: number
  /** What the one who brought the artifact says about its data. */
  trainedOn?: string
  /** What another installation says about it, for an imported bundle. */
  bundle?: BundleOrigin
}

/** What every brought artifact lacks. */
export const broughtFacts = {
  origin: 'brought',
  snapshot: 'unknown',
  code: 'unknown',
  dependencies: 'unknown',
} as const satisfies Partial<TrainingFacts>

/** The digest of a file. Throws `artifact_invalid` for an artifact without it. */
export function fileOf({ files }: Pick<Manifest, 'files'>, name: string): FileDigest {
  const found = Object.hasOwn(files, name) ? files[name] : undefined
  if (found === undefined) throw new DomainError('artifact_invalid', `the artifact has no file ${name}`)
  return found
}

/** The bytes of all files; undefined for an artifact without any. */
export const totalBytesOf = (files: Manifest['files'] | undefined): number | undefined =>
  files && Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0)
