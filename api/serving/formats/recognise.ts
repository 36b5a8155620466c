/** Recognises the format of a file by its first bytes, so that the file of a brought model needs no particular name. */
import type { ArtifactFormatName, Manifest } from '../../../domain/model/manifest.ts'
import { refuse } from '../network/layers-model.ts'
import { refuseForeign } from './model-file.ts'
import { isLightgbm } from './trees/lightgbm.ts'

/** Returns the name of the file in an artifact. Throws `artifact_invalid`, with the name of the format, for an unsupported one. */
export function fileNameOf(bytes: Buffer): string {
  const head = bytes.toString('latin1', 0, 64)
  refuseForeign(bytes, head)
  if (isLightgbm(head)) return 'model.txt'
  if (/^\{[iUIlL$#]/.test(head)) return 'model.ubj'
  if (/^\s*\{/.test(head)) return 'model.json'
  // The first field of an ONNX model is the version of its representation.
  if (head.startsWith('\x08')) return 'model.onnx'
  return refuse(
    'the file is not a model of LightGBM (model.txt), XGBoost (.json, .ubj), CatBoost (.json) or ONNX (.onnx)',
  )
}

/** Returns the format of an artifact with these files. Throws `artifact_invalid`. */
export function formatOfFiles(files: Manifest['files']): ArtifactFormatName {
  const names = Object.keys(files)
  if (names.includes('weights.bin')) return 'tfjs-layers'
  return names.includes('model.onnx') ? 'onnx' : 'trees'
}
