/** Defines the manifest of an artifact. The artifact is this manifest plus its files, each stored by SHA-256; the digest of the manifest names the artifact. */
import type { DrillFault } from '../drill.ts'
import type { FeatureFit, Features, Output, FeatureRow } from './features.ts'
import type { ReferenceProfile } from './reference-profile.ts'

export interface FileDigest {
  /** `sha256:` and 64 hexadecimal digits. */
  digest: string
  bytes: number
}

export interface Manifest {
  format: 'tenure-artifact@1'
  model: string
  features: Features
  output: Output
  /** In the order of the network's inputs. */
  preprocessing: FeatureFit[]
  /** tfjs LayersModel files. */
  files: { 'model.json': FileDigest; 'weights.bin': FileDigest }
  /** Rows with the outputs of tfjs-node, which every predictor must reproduce to 1e-5. */
  golden: { instances: FeatureRow[]; outputs: number[][] }
  /** The profile of the training rows; absent for artifacts made elsewhere. */
  profile?: ReferenceProfile
  /** The injected fault of a drill's version. */
  drill?: DrillFault
  training: {
    snapshot: string
    seed: number
    code: string
    dependencies: string
    hyperparameters: Record<string, number | string | boolean>
    /** Training rows used. */
    rows: number
  }
}
