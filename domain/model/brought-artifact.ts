/** Defines an artifact that was trained elsewhere and is evaluated and released here. */
import { DomainError } from '../errors.ts'
import { issueOfBundleOrigin, type BundleOrigin } from './bundle-origin.ts'

/** A brought artifact, whose files are in the artifact store. */
export interface BroughtArtifact {
  /** `model.txt`, `model.json`, `model.ubj` or `model.onnx`; `manifest.json` for the manifest of a bundle, whose files are stored too. */
  file: string
  digest: string
  bytes: number
  /** The digest of its `columns.json`. */
  columns?: string
  /** What the user who brought it states about its training rows. */
  trainedOn?: string
  /** What the source installation states about it, for a bundle. */
  bundle?: BundleOrigin
}

export const bundleManifest = 'manifest.json'
const files = ['model.txt', 'model.json', 'model.ubj', 'model.onnx', bundleManifest]

export const maxTrainedOnLength = 500

const digestPattern = /^sha256:[0-9a-f]{64}$/

/** Why a value is not a brought artifact; undefined when it is. */
export function issueOfBrought(given: unknown): string | undefined {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return 'must be an object'
  const { file, digest, bytes, columns, trainedOn, bundle } = given as Record<string, unknown>
  if (typeof file !== 'string' || !files.includes(file)) return `must have a "file" of ${files.join(', ')}`
  if (typeof digest !== 'string' || !digestPattern.test(digest)) return 'must have a "digest" of 64 digits'
  if (!Number.isSafeInteger(bytes) || Number(bytes) < 1) return 'must have its "bytes"'
  if (columns !== undefined && (typeof columns !== 'string' || !digestPattern.test(columns)))
    return 'must have a digest as "columns"'
  if (trainedOn !== undefined && (typeof trainedOn !== 'string' || trainedOn.length > maxTrainedOnLength))
    return `must have a text of at most ${maxTrainedOnLength} characters as "trainedOn"`
  if ((file === bundleManifest) !== (bundle !== undefined)) return 'must have a "bundle" with its manifest'
  return bundle === undefined ? undefined : issueOfBundleOrigin(bundle)
}

/** The error for training a model whose versions are brought. */
export const notTrainedHere = (model: string): DomainError =>
  new DomainError(
    'command_refused',
    `the model file of ${model} has no train: bring a version with \`tenure versions register ${model} --artifact FILE\``,
  )
