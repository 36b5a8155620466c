/** Defines a format of artifacts: its files, their limits, and how they are opened. Each format has a folder; no other file knows a library. */
import type {
  ExplanationMethod,
  ExplanationScale,
} from '../../../domain/explanation/explained-predictions.ts'
import type { Attribution } from '../../../domain/explanation/shapley.ts'
import type { ArtifactFormatName, Manifest } from '../../../domain/model/manifest.ts'
import type { Output } from '../../../domain/model/features.ts'
import type { Predictor } from '../predictor.ts'
import type { Runtimes } from './runtimes.ts'

/** The checked bytes of an artifact's files, by name. */
export type ArtifactFiles = Readonly<Record<string, Uint8Array>>

/** A column that a model takes, in its order. */
export interface ArtifactColumn {
  name: string
  /** The texts of a category column by code, where the file holds them. A text that is not here is missing. */
  categories?: readonly (string | number)[]
  /** Whether the file holds the texts cut at the wrong places, so that they cannot be read. */
  hasCutNames?: boolean
  /** Whether it takes the text itself. */
  isText?: boolean
}

/** What the files say without a manifest. */
export interface ArtifactFacts {
  /** The library that wrote the files, with its version where they name it. */
  library: string
  columns: readonly ArtifactColumn[]
  outputs: number
}

export interface OpenedArtifact {
  predictor: Predictor
  /** What it holds in memory, besides the code. */
  memoryBytes: number
  /** A slower predictor, tried when the golden rows differ. */
  exact?: () => Predictor
  /** Opens it with the library that wrote its golden rows, tried when they differ still. */
  elsewhere?: () => Promise<OpenedArtifact>
}

export interface OpenDeps {
  version: string
  runtimes: Runtimes
}

/** Stages between which other requests are served, or the promise of a model that is opened elsewhere. */
export type ArtifactStages = Generator<void, OpenedArtifact> | Promise<OpenedArtifact>

/** Attributes the answers of an artifact without sampling. */
export interface ExactExplainer {
  method: Exclude<ExplanationMethod, 'sampled'>
  scale: ExplanationScale
  /** Where the first number of an answer stands among the outputs of the artifact; 0 when absent. */
  firstOutput?: number
  /** Of an encoded row, against encoded background rows. */
  explain(row: Float64Array, background: readonly Float64Array[], question: ExplainedOutput): Attribution
}

export interface ExplainedOutput {
  /** The feature of each input. */
  players: Int32Array
  /** Features. */
  count: number
  /** An output of the artifact. */
  output: number
}

export interface ArtifactFormat {
  name: ArtifactFormatName
  /** The sets of files of which an artifact has exactly one. */
  fileSets: readonly (readonly string[])[]
  /** Most bytes of each file. */
  limits: Readonly<Record<string, number>>
  /** Reads files that have no manifest yet, of a model with this output. Throws `artifact_invalid`. */
  inspect(files: ArtifactFiles, output: Output): ArtifactFacts | Promise<ArtifactFacts>
  /**
   * Opens an artifact, without `deps` only a compiled one; its inputs are those of the manifest's preprocessing, in their order. The golden rows are checked by the caller.
   * Throws `artifact_invalid`, naming what is wrong.
   */
  open(manifest: Manifest, files: ArtifactFiles, deps?: OpenDeps): ArtifactStages
  /** Absent, or undefined, where an answer can be explained by sampling only. */
  explain?(manifest: Pick<Manifest, 'output'>, files: ArtifactFiles): ExactExplainer | undefined
}
