/** Opens the graphs of trees and of dense layers, which are computed without ONNX Runtime. */
import { refuse } from '../../errors.ts'
import {
  heldInputsOf,
  inputWidthOf,
  widthOfFit,
  type FeatureFit,
  type ModelDescription,
  type Output,
} from '../../features.ts'
import type { Network } from '../../network/layers-model.ts'
import type { Predictor } from '../../predictor.ts'
import type { Forest } from '../trees/forest.ts'
import { openForest, type ForestOptions } from '../trees/open-forest.ts'
import type { OpenedArtifact } from '../format.ts'
import { clampProbabilities } from './clamp-probabilities.ts'
import type { OnnxLayout } from './layout.ts'
import { secondOf } from './second-output.ts'

/** Whether the outputs are the probabilities of two classes, of which the second is the positive class. */
export const isPairOf = ({ kind }: Output, outputs: number): boolean =>
  kind === 'probability' && outputs === 2

export function openTrees(
  manifest: ModelDescription,
  forest: Forest,
  options?: ForestOptions,
): Omit<OpenedArtifact, 'elsewhere' | 'exact'> {
  const opened = openForest(forest, manifest, options)
  const isPair = isPairOf(manifest.output, forest.starts.length)
  const predictor = isPair ? secondOf(opened.predictor) : opened.predictor
  return { ...opened, predictor: clampProbabilities(predictor, manifest.output) }
}

/** `compile` computes the layers. */
export function openNetwork(
  manifest: ModelDescription,
  { layout, network }: { layout: OnnxLayout; network: Network },
  compile: (network: Network) => Predictor,
): Predictor {
  const { width } = boundRows(manifest, layout)
  const dense = compile(network)
  const predictor = width === dense.inputs ? dense : firstColumns(dense, width)
  const chosen = isPairOf(manifest.output, network.outputs) ? secondOf(predictor) : predictor
  return clampProbabilities(chosen, manifest.output)
}

/** Computes rows that hold further columns, which the network does not take. */
function firstColumns(predictor: Predictor, width: number): Predictor {
  const { inputs } = predictor
  return {
    ...predictor,
    inputs: width,
    run(input, rows, output) {
      const taken = new Float64Array(rows * inputs)
      for (let row = 0; row < rows; row++)
        taken.set(input.subarray(row * width, row * width + inputs), row * inputs)
      return predictor.run(taken, rows, output)
    },
  }
}

/** How the rows of a model hold what a graph takes. By default they hold this alone. */
export interface BoundRows {
  /** For each category column of the rows, whether the graph takes its text. */
  takesText?: readonly boolean[]
  /** The inputs of a row, of which the graph takes the first. */
  width?: number
  /** The features of the columns, such as `pixels[3]`. By default, messages name the columns of the file. */
  names?: readonly string[]
}

/** Returns how the rows of a manifest contain the inputs of the graph. Throws `artifact_invalid` when they do not. */
export function boundRows({ preprocessing }: ModelDescription, layout: OnnxLayout): Required<BoundRows> {
  const taken: FeatureFit[] = []
  const names: string[] = []
  // The features that the graph does not use come last.
  for (const fit of preprocessing) {
    if (names.length >= layout.columns.length) break
    taken.push(fit)
    names.push(...columnNames(fit))
  }
  const takes = preprocessing.map(
    (fit, at) => at < taken.length && fit.kind === 'category' && fit.encoding === 'text',
  )
  const inputs = shapeOf(layout).inputs
  const texts = takes.filter(Boolean).length
  const wanted = layout.columns.length - inputs
  if (
    inputWidthOf(preprocessing) < inputs ||
    texts !== wanted ||
    names.length > layout.columns.length ||
    (layout.isNamed && inputWidthOf(taken) !== inputs)
  )
    refuse(
      `the graph takes ${inputs} numbers and ${wanted} texts, the preprocessing gives ${inputWidthOf(taken)} and ${texts}`,
    )
  if (layout.isNamed && layout.columns.some(({ name }, at) => name !== taken[at]?.name))
    refuse(
      `the graph takes ${layout.columns.map(({ name }) => name).join(', ')}, in another order than the manifest`,
    )
  const takesText = preprocessing.flatMap((fit, at) => (fit.kind === 'category' ? [takes[at]!] : []))
  return { takesText, width: inputWidthOf(preprocessing), names }
}

/** The columns that a feature is: one, or one for each number of a vector or an image. */
const columnNames = (fit: FeatureFit): string[] =>
  fit.kind === 'category' && heldInputsOf(fit) !== undefined
    ? Array.from({ length: widthOfFit(fit) }, (_, at) => `${fit.name}[${at}]`)
    : [fit.name]

export const shapeOf = ({ inputs }: OnnxLayout): { inputs: number } => ({
  inputs: inputs.reduce((sum, { type, width }) => sum + (type === 'string' ? 0 : width), 0),
})
