/**
 * Runs a network on rows that are read column by column. A category sets one input of many, so the first layer needs few additions. Terms
 * that are left out are zeros, and the other terms are added in the same order and precision, so a row gets the same bits as in a replica.
 */
import type { BatchLayout } from '../../../domain/model/batch-spec.ts'
import { activationOf, compileDense, type Network } from '@tenure/predictors'
import { writeHeld } from '@tenure/predictors/features'
import {
  codesBefore,
  noInput,
  sourcesOf,
  type AnswerColumns,
  type ColumnBlock,
  type ColumnSource,
  type NumberSource,
  type TextSource,
} from './column-source.ts'
import { listTexts, runRows, textsReader } from '../run-rows.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

const blockRows = 256

/**
 * Returns a function that answers blocks of rows. `network`: the dense network of the version, if it is one. Its first layer is then read
 * sparsely, provided that gives the same bits for the first rows.
 */
export function compileColumns(loaded: LoadedVersion, layout: BatchLayout, network?: Network): AnswerColumns {
  const sources = sourcesOf(loaded, layout)
  const whole = answerWhole(loaded, sources)
  if (network === undefined || layout.texts.length === 0) return whole
  const sparse = answerSparsely(network, sources)
  let isSame: boolean | undefined
  const tryBoth = async (block: ColumnBlock): Promise<boolean> => {
    const some = { ...block, rows: Math.min(block.rows, blockRows) }
    const answers = [sparse, whole].map(async (answer) => {
      const outputs = new Float32Array(some.rows * network.outputs)
      await answer(some, outputs, new Uint8Array(some.rows))
      return Buffer.from(outputs.buffer)
    })
    const [a, b] = await Promise.all(answers)
    return a!.equals(b!)
  }
  return async (block, outputs, refused) => {
    isSame ??= await tryBoth(block)
    return (isSame ? sparse : whole)(block, outputs, refused)
  }
}

/** Computes only the non-zero inputs of the first layer, then the other layers with the loops of a replica. */
function answerSparsely(network: Network, sources: readonly ColumnSource[]): AnswerColumns {
  const { layers, outputs: width, inputs } = network
  const [first, ...others] = layers
  const { units, kernel, bias, activations } = first!
  const activate = activationOf(activations, 0)
  const rest =
    others.length === 0 ? undefined : compileDense({ inputs: units, outputs: width, layers: others })
  const sums = new Float32Array(blockRows * units)
  const answers = new Float32Array(blockRows * width)
  const weights = new Float32Array(inputs * units)
  weights.set(kernel)
  const addNumbers = (
    { scale, start, hasInput }: NumberSource,
    values: Float64Array,
    refused: Uint8Array,
  ) => {
    for (let row = 0; row < values.length; row++) {
      const value = Math.fround(scale(values[row]!))
      if (!Number.isFinite(value)) {
        refused[row] = 1
        continue
      }
      if (!hasInput) continue
      const at = row * units
      for (let j = 0; j < units; j++) sums[at + j]! += Math.fround(value * weights[start * units + j]!)
    }
  }
  const addTexts = ({ places }: TextSource, codes: Int32Array, refused: Uint8Array) => {
    for (let row = 0; row < codes.length; row++) {
      const place = places[codesBefore + codes[row]!]!
      if (place < 0) {
        refused[row] = 1
        continue
      }
      if (place === noInput) continue
      const [at, weight] = [row * units, place * units]
      for (let j = 0; j < units; j++) sums[at + j]! += weights[weight + j]!
    }
  }
  return ({ rows, numbers, texts }, outputs, refused) => {
    for (let from = 0; from < rows; from += blockRows) {
      const to = Math.min(rows, from + blockRows)
      for (let at = 0; at < blockRows * units; at += units) sums.set(bias, at)
      const marks = refused.subarray(from, to)
      for (const source of sources)
        if (source.kind === 'number') addNumbers(source, numbers[source.slot]!.subarray(from, to), marks)
        else addTexts(source, texts[source.slot]!.subarray(from, to), marks)
      if (activate !== undefined) for (let row = 0; row < to - from; row++) activate(sums, row * units, units)
      if (rest === undefined) outputs.set(sums.subarray(0, (to - from) * width), from * width)
      else {
        rest.run(sums, to - from, answers)
        outputs.set(answers.subarray(0, (to - from) * width), from * width)
      }
    }
    return Promise.resolve()
  }
}

const isHeld = (source: ColumnSource): source is TextSource & Required<Pick<TextSource, 'held'>> =>
  source.kind === 'text' && source.held !== undefined

/** Computes every row with the loops of a replica. */
function answerWhole({ predictor, columns }: LoadedVersion, sources: readonly ColumnSource[]): AnswerColumns {
  const { inputs, outputs: width } = predictor
  const input = new Float64Array(blockRows * inputs)
  const answers = new Float32Array(blockRows * width)
  const heldSources = sources.filter(isHeld)
  return async ({ rows, numbers, texts, taken }, outputs, refused) => {
    const textsOf = taken && textsReader(taken, columns.texts)
    for (let from = 0; from < rows; from += blockRows) {
      const count = Math.min(blockRows, rows - from)
      input.fill(0)
      for (const source of sources)
        for (let row = 0; row < count; row++) {
          if (source.kind === 'number') {
            const value = source.scale(numbers[source.slot]![from + row]!)
            if (Math.abs(value) === Infinity) refused[from + row] = 1
            else if (source.hasInput) input[row * inputs + source.start] = value
            continue
          }
          const code = codesBefore + texts[source.slot]![from + row]!
          const place = source.places[code]!
          if (place < 0) refused[from + row] = 1
          else if (place !== noInput) input[row * inputs + place] = source.values[code]!
        }
      const own = textsOf?.(count)
      if (own !== undefined && heldSources.length > 0) {
        const cells = listTexts(own, count * columns.texts)
        for (let row = 0; row < count; row++)
          for (const { slot, held } of heldSources) {
            const text = cells[row * columns.texts + slot]!
            if (
              refused[from + row] === 0 &&
              writeHeld(text, held, input, row * inputs + held.start) !== undefined
            )
              refused[from + row] = 1
          }
      }
      if (predictor.refusalOf !== undefined)
        for (let row = 0; row < count; row++) {
          if (refused[from + row] === 0 && predictor.refusalOf(input, row) !== undefined)
            refused[from + row] = 1
          // One refused row would make the model refuse the whole batch.
          if (refused[from + row] === 1) input.fill(0, row * inputs, (row + 1) * inputs)
        }
      const block = { input, rows: count, texts: own, textColumns: columns.texts }
      await runRows(predictor, block, answers, {
        isSkipped: (row) => refused[from + row] === 1,
        refuse: (row) => (refused[from + row] = 1),
      })
      outputs.set(answers.subarray(0, count * width), from * width)
    }
  }
}
