/**
 * Defines an artifact format: its files, their limits, and how they are opened. Each format has its own folder; no other file depends on a
 * library.
 */
import type { ModelDescription } from '../features.ts'
import type { Output } from '../features.ts'
import type { ImageShape } from '../png.ts'
import type { Predictor } from '../predictor.ts'
import type { Hosts } from '../runtime/hosts.ts'
import type { CompressionRequest } from '../format-names.ts'
import type { Runtimes } from './runtimes.ts'

/** The checked bytes of an artifact's files, by name. */
export type ArtifactFiles = Readonly<Record<string, Uint8Array>>

/** The texts that a model tells apart in a column. */
export interface KnownTexts {
  has(text: string): boolean
  /** Some of them. */
  listed: readonly string[]
}

/** A column of a model, in the model's order. */
export interface ArtifactColumn {
  name: string
  /** The values of a category column by code, when the file contains them. Any other value is missing. */
  categories?: readonly (string | number | boolean)[]
  /** The lists of categories that the file contains and that may belong to this column, or to another one. */
  possibleCategories?: readonly NonNullable<ArtifactColumn['categories']>[]
  /** Whether the file contains texts that are cut at the wrong positions and cannot be read. */
  hasCutNames?: boolean
  /** The input that has this column among others, by which a vector may fill them all. */
  input?: string
  /** The image that the columns of the input may be; at the first of them. */
  image?: ImageShape
  /** Whether the model takes the text itself. */
  isText?: boolean
  /** Whether a text is one of words, and a vector or an image as a text means nothing to the model. */
  isOfWords?: boolean
  /** How many numbers a vector of it has; 0 where it takes none. Absent: a column of texts takes a vector of any length as its JSON. */
  vector?: number
  /** The texts that the model knows, or more; absent where the file does not tell. For a column of texts. */
  knownTexts?: KnownTexts
}

/** The facts that the files state without a manifest. */
export interface ArtifactFacts {
  /** The library that wrote the files, with its version if the files name it. */
  library: string
  columns: readonly ArtifactColumn[]
  outputs: number
}

export interface OpenedArtifact {
  predictor: Predictor
  /** The bytes of memory that the model holds, besides its code. */
  memoryBytes: number
  /** Creates a slower, more exact predictor, tried when the golden rows differ. */
  exact?: () => Predictor
  /** Opens the artifact with the library that wrote its golden rows, tried when they still differ. */
  elsewhere?: () => Promise<OpenedArtifact>
}

export interface OpenDeps {
  version: string
  runtimes: Runtimes
  /** Whether the values of its rows may stand in no log. */
  isRedacted?: boolean
  /** Whether code of Python is refused where it knows the categories of the rows that it answers as other values than their texts. */
  checksValues?: boolean
  /** Whether such a check accepts a pickle that another minor version of its library has written. */
  allowsOtherVersions?: boolean
}

/** Stages between which other requests are served, or the promise of a model that is opened in another thread or process. */
export type ArtifactStages = Generator<void, OpenedArtifact> | Promise<OpenedArtifact>

export interface Attribution {
  /** The mean over the background rows. */
  base: number
  /** Of the row: base and attributions sum to it. */
  score: number
  /** One a feature. */
  attributions: number[]
}

/** Attributes the predictions of an artifact exactly, without sampling. */
export interface ExactExplainer {
  method: 'tree_shap' | 'linear'
  /** `raw`: the sum before the link function or activation, such as log odds. `answer`: the answered number itself. */
  scale: 'raw' | 'answer'
  /** The index of the prediction's first number among the outputs of the artifact. Default: 0. */
  firstOutput?: number
  /** Attributes an encoded row against encoded background rows. */
  explain(row: Float64Array, background: readonly Float64Array[], question: ExplainedOutput): Attribution
}

export interface ExplainedOutput {
  /** The feature of each number of a row. */
  players: Int32Array
  /** The number of features. */
  count: number
  /** The index of an output of the artifact. */
  output: number
}

/** Rows of `width` numbers, in the order of the manifest's preprocessing. */
export interface EncodedRows {
  input: Float64Array
  rows: number
  width: number
}

export interface CompressedFiles {
  files: ArtifactFiles
  /** How many the parent and the child have of each part, such as trees and leaves. */
  counts: Readonly<Record<string, { parent: number; child: number }>>
  /** No number before the link function differs by more from the parent's; absent where nothing bounds it. */
  rawBound?: number
  /** No number of an answer differs by more from the parent's; absent where nothing bounds it. */
  answerBound?: number
}

export interface ArtifactFormat {
  /** The maximum bytes of each file that `format-names.ts` lists. */
  limits: Readonly<Record<string, number>>
  /** Returns the name in an artifact of a file, whose `head` is its first 64 bytes; absent for a format whose files are not brought. */
  recognises?(head: string, bytes: Uint8Array): string | undefined
  /** The file of the artifact in which its author lists the columns. Default: `columns.json` names those of a file that names none. */
  columnsIn?: string
  /** How much longer than parsing a file `inspect` may take, for a format that starts a process. Default: 0. */
  startMs?: number
  /** Inspects files that have no description yet, of a model with this output. Throws `artifact_invalid`. */
  inspect(files: ArtifactFiles, output: Output, hosts?: Hosts): ArtifactFacts | Promise<ArtifactFacts>
  /**
   * Opens an artifact; without `deps`, only a compiled one. Its inputs are those of the manifest's preprocessing, in their order. The
   * caller checks the golden rows. Throws `artifact_invalid` with the reason.
   */
  open(manifest: ModelDescription, files: ArtifactFiles, deps?: OpenDeps): ArtifactStages
  /** Returns the exact explainer; absent or undefined when a prediction can only be explained by sampling. */
  explain?(
    manifest: Pick<ModelDescription, 'output' | 'preprocessing'>,
    files: ArtifactFiles,
  ): ExactExplainer | undefined
  /**
   * Makes smaller files, which answer almost alike, in one of the ways that `format-names.ts` lists. `rows` encodes rows of training.
   * Throws `artifact_invalid` for files that cannot be made smaller.
   */
  compress?(
    manifest: ModelDescription,
    files: ArtifactFiles,
    request: CompressionRequest,
    rows: () => EncodedRows,
  ): CompressedFiles | Promise<CompressedFiles>
}
