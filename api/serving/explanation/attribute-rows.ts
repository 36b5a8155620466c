/** Explains the predictions of a version: exactly for formats that support it, otherwise by sampling. */
import { widthOfFit } from '@tenure/predictors/features'
import type {
  ExplanationMethod,
  ExplanationScale,
} from '../../../domain/explanation/explained-predictions.ts'
import { sampledShapley, type Attribution } from '../../../domain/explanation/shapley.ts'
import { modelFeatures, type FeatureRow } from '../../../domain/model/features.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { compileEncoder } from '../../../domain/model/preprocessing.ts'
import { columnsOf } from '../codec/feature-columns.ts'
import { createInputBuffer, resetInput, writeRow } from '../codec/input-buffer.ts'
import { correctionOf, taskOf } from '../../../domain/tasks/tasks.ts'
import { type ArtifactFiles, formatOf, type Predictor } from '@tenure/predictors'

export type ExplainedManifest = Pick<Manifest, 'artifact' | 'files' | 'features' | 'output' | 'preprocessing'>

export interface ExplainQuestion {
  manifest: ExplainedManifest
  rows: readonly FeatureRow[]
  /** The background rows; at least one. */
  background: readonly FeatureRow[]
  /** The index of the output to explain. Default: the likeliest class, or the middle quantile. */
  output?: number
}

export interface ExplainedRows {
  method: ExplanationMethod
  scale: ExplanationScale
  rows: (Attribution & {
    /** The index of the explained output. */
    output: number
    /** All outputs of the row. */
    answer: number[]
  })[]
}

const permutations = 128
/** The number of rows per call of the model. */
const pieceRows = 2_000

export async function attributeRows(
  { manifest, rows, background, output }: ExplainQuestion,
  files: ArtifactFiles,
  predictor: Predictor,
): Promise<ExplainedRows> {
  const { features, preprocessing } = manifest
  const names = Object.keys(modelFeatures(features))
  const encode = compileEncoder(features, preprocessing)
  const layout = columnsOf(features, preprocessing)
  const buffer = createInputBuffer()
  const exact = formatOf(manifest).explain?.(manifest, files)

  const answerPiece = async (piece: readonly FeatureRow[]): Promise<Float32Array> => {
    resetInput(buffer, layout, piece.length)
    const outputs = new Float32Array(piece.length * predictor.outputs)
    piece.forEach((row, at) => {
      encode(row, buffer.input, at * layout.width)
      writeRow(buffer, layout, row, at)
    })
    await predictor.run(buffer.input, piece.length, outputs, undefined, buffer)
    correctionOf(manifest.output)?.(outputs, piece.length)
    return outputs
  }
  const numberOf = async (asked: readonly FeatureRow[], place: number): Promise<Float64Array> => {
    const numbers = new Float64Array(asked.length)
    for (let from = 0; from < asked.length; from += pieceRows) {
      const piece = asked.slice(from, from + pieceRows)
      const outputs = await answerPiece(piece)
      piece.forEach((_, at) => (numbers[from + at] = outputs[at * predictor.outputs + place]!))
    }
    return numbers
  }
  const encoded = (row: FeatureRow): Float64Array => {
    const into = new Float64Array(layout.width)
    encode(row, into, 0)
    return into
  }

  const players = playersOf(manifest)
  const others = exact && background.map(encoded)
  const explained = []
  for (const row of rows) {
    const answer = Array.from(await answerPiece([row]))
    const place = output ?? placeOf(manifest, answer)
    const attribution =
      exact === undefined
        ? await sampledShapley({
            features: names,
            row,
            background,
            permutations,
            seed: 1,
            answer: (asked) => numberOf(asked, place),
          })
        : exact.explain(encoded(row), others!, {
            players,
            count: names.length,
            output: place + (exact.firstOutput ?? 0),
          })
    explained.push({ ...attribution, output: place, answer })
  }
  const { method, scale } = exact ?? { method: 'sampled' as const, scale: 'answer' as const }
  return { method, scale, rows: explained }
}

const placeOf = ({ output }: ExplainedManifest, answer: readonly number[]): number =>
  taskOf(output).place(output, answer)

/** Returns the feature of each input. */
function playersOf({ features, preprocessing }: ExplainedManifest): Int32Array {
  const names = Object.keys(modelFeatures(features))
  return Int32Array.from(
    preprocessing
      .filter(({ name }) => names.includes(name))
      .flatMap((fit) => Array.from({ length: widthOfFit(fit) }, () => names.indexOf(fit.name))),
  )
}
