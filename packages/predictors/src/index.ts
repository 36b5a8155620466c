/** Reads models as data and computes their answers. `open` is all that most programs need; the rest is for servers of models. */
export { open, type Explanation, type Model, type OpenLimits, type Row, type Value } from './open.ts'
export { isPredictorError, refuse, type PredictorError, type PredictorErrorCode } from './errors.ts'
export {
  artifactFormats,
  broughtFileNames,
  broughtLibraries,
  expectFileSet,
  formatNameOf,
  formatOfFiles,
  type ArtifactFormatName,
} from './format-names.ts'
export {
  type CategoryFit,
  type DeclaredColumn,
  type Feature,
  type FeatureFit,
  type ModelDescription,
  type NumberFit,
  type Output,
  type UnknownRows,
} from './features.ts'
export { fileNameOf, formatOf, maxBytesOf } from './formats/all-formats.ts'
export { bindColumns, type BoundColumns } from './formats/bind-columns.ts'
export {
  type ArtifactColumn,
  type ArtifactFacts,
  type ArtifactFiles,
  type ArtifactFormat,
  type ArtifactStages,
  type Attribution,
  type CompressedFiles,
  type ExactExplainer,
  type OpenedArtifact,
} from './formats/format.ts'
export { createRuntimes, type Runtimes } from './formats/runtimes.ts'
export { compressTrees, fewestTrees, type TreeCompression } from './formats/trees/compress-trees.ts'
export { denseNetworkOf } from './formats/tfjs-layers/format.ts'
export { activationOf } from './network/activations.ts'
export { type Network } from './network/layers-model.ts'
export { compileDense } from './network/simd-predictor.ts'
export { type Predictor, type RowTexts, type RunTicket } from './predictor.ts'
export { type BatcherOptions } from './runtime/batcher.ts'
export { startTied, type Hosts } from './runtime/hosts.ts'
export { type RuntimeOptions } from './runtime/runtime.ts'
export { type Tensors } from './tensorflow/tfjs-models.ts'
