/**
 * What an artifact says of itself. The artifact of a version is this manifest plus the files it names, all stored by the
 * SHA-256 of their bytes; the digest of the manifest names the whole.
 */
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
  /** Rows with the outputs that tfjs-node gave: every predictor must reproduce them to 1e-5. */
  golden: { instances: FeatureRow[]; outputs: number[][] }
  /** What the features and the score looked like on the training rows; absent for artifacts made elsewhere. */
  profile?: ReferenceProfile
  /** Of a version that was made for a drill: what replicas make of its answers. */
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
