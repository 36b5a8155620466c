/** Defines an artifact that was trained elsewhere and is evaluated and released here. */
import { DomainError, quotedName } from '../errors.ts'
import { percentText } from '../figures.ts'
import { broughtFileNames, trainedFileNames } from '@tenure/predictors/format-names'
import { issueOfBundleOrigin, type BundleOrigin } from './bundle-origin.ts'
import { issueOfCompression, type CompressionOrder } from './compression.ts'

/** A brought artifact, whose files are in the artifact store. */
export interface BroughtArtifact {
  /** One of `broughtFileNames`, `model.tar` of code, or `manifest.json` for the manifest of a bundle, whose files are stored too. */
  file: string
  digest: string
  bytes: number
  /** The digest of its `columns.json`. */
  columns?: string
  /** What the user who brought it states about its training rows. */
  trainedOn?: string
  /** Why it may lack categories of more training rows than `maxUnknownShare`. */
  allowUnknownCategories?: string
  /** Why its pickle may be of another minor version of its library. */
  allowOtherVersions?: string
  /** What the source installation states about it, for a bundle. */
  bundle?: BundleOrigin
  /** The version is made of this file, which is the first one of its parent, or of what the parent answers. */
  compression?: CompressionOrder
  /** The artifact is that of a challenger that the gate refused, and that an admin registers by break-glass. */
  refused?: RefusedChallenger
}

/** A challenger that the gate refused, and the evidence that the order of an admin is bound to. */
export interface RefusedChallenger {
  /** The retraining that it is of. */
  retraining: string
  /** The digest of the report that refused it. */
  evaluation: string
}

export const bundleManifest = 'manifest.json'
/** A folder of code, as a tar. */
export const codeFolder = 'model.tar'
const files = [...broughtFileNames, codeFolder, bundleManifest]

export const maxNoteLength = 500

/** A feature of which the model does not know all categories of the training rows. */
export interface UnknownCategories {
  feature: string
  /** The share of the training rows that have such a category. */
  share: number
  /** The most frequent of them; empty where the rows belong to data subjects. */
  examples: string[]
}

/** The maximum share of training rows with unknown categories, unless the registration allows more. */
export const maxUnknownShare = 0.02

/** One sentence about a feature. */
export const unknownCategoriesText = ({ feature, share, examples }: UnknownCategories): string =>
  `the model does not know the category ${quotedName(feature)} of ${percentText(share)} of the training rows${examples.length === 0 ? '' : `, such as ${examples.map(quotedName).join(', ')}`}`

const digestPattern = /^sha256:[0-9a-f]{64}$/

/** Why a value is not a brought artifact; undefined when it is. */
export function issueOfBrought(given: unknown): string | undefined {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return 'must be an object'
  const { file, digest, bytes, columns, bundle, compression, refused, ...notes } = given as Record<
    string,
    unknown
  >
  // An order of the API alone has it, and the registration reads the artifact of its evaluation.
  if (refused !== undefined) return undefined
  if (typeof file !== 'string' || !(compression === undefined ? files : trainedFileNames).includes(file))
    return `must have a "file" of ${files.join(', ')}`
  if (typeof digest !== 'string' || !digestPattern.test(digest)) return 'must have a "digest" of 64 digits'
  if (!Number.isSafeInteger(bytes) || Number(bytes) < 1) return 'must have its "bytes"'
  if (columns !== undefined && (typeof columns !== 'string' || !digestPattern.test(columns)))
    return 'must have a digest as "columns"'
  for (const name of ['trainedOn', 'allowUnknownCategories', 'allowOtherVersions']) {
    const note = notes[name]
    if (note !== undefined && (typeof note !== 'string' || note.length > maxNoteLength))
      return `must have a text of at most ${maxNoteLength} characters as "${name}"`
  }
  if ((file === bundleManifest) !== (bundle !== undefined)) return 'must have a "bundle" with its manifest'
  if (compression !== undefined) return issueOfCompression(compression)
  return bundle === undefined ? undefined : issueOfBundleOrigin(bundle)
}

/** The error for training a model whose versions are brought. */
export const notTrainedHere = (model: string): DomainError =>
  new DomainError(
    'command_refused',
    `the model file of ${model} has no train: bring a version with \`tenure versions register ${model} --artifact FILE\``,
  )
