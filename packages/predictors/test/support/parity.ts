/** Compares the outputs of model files with the outputs of the libraries that wrote them. */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { columnValue } from '../../src/formats/trees/column-value.ts'
import { readForest } from '../../src/formats/trees/read-forest.ts'
import { isOnnx } from '../../src/formats/onnx/graph.ts'
import { openOnnx } from '../../src/formats/onnx/open-onnx.ts'
import { predictorOf } from '../../src/formats/trees/predictor.ts'
import { walkerOf } from '../../src/formats/trees/walk.ts'

/** A model with rows and the outputs of its library. */
export interface ParityCase {
  name: string
  bytes: Buffer
  rows: (number | string | null)[][]
  answers: (number | number[])[]
}

/** Reads 46 models of the three libraries, as `npm run parity -w @tenure/predictors -- --only trees --pack` wrote them. */
export const readCases = (): ParityCase[] => readPack('tree-models.json.gz')

/** Reads ONNX models of scikit-learn and others with ONNX Runtime's outputs, as `npm run parity -w @tenure/predictors -- --only onnx --pack` wrote them. */
export const readOnnxCases = (): ParityCase[] => readPack('onnx-models.json.gz')

/** Reads models of older library versions, as `packages/predictors/tools/older_models.py` wrote them. */
export const readOlderCases = (): ParityCase[] => readPack('older-models.json.gz')

function readPack(name: string): ParityCase[] {
  const packed = readFileSync(new URL(name, import.meta.url))
  const cases = JSON.parse(gunzipSync(packed).toString('utf8')) as (Omit<ParityCase, 'bytes'> & {
    bytes: string
  })[]
  return cases.map((each) => ({ ...each, bytes: Buffer.from(each.bytes, 'base64') }))
}

export interface Parity {
  rows: number
  trees: number
  /** The largest difference: absolute up to 1, relative above. */
  worst: number
  /** The number of leaves in which the kernel and the plain walk differ. */
  otherLeaves: number
}

/** The rows as the library takes them: numbers, and the codes of categories. */
export function encodedRows({ bytes, rows }: Pick<ParityCase, 'bytes' | 'rows'>): number[][] {
  const { columns } = readForest(bytes)
  return rows.map((row) => columns.map((column, at) => columnValue(column, row[at])!))
}

/** Throws for a file that is refused. */
export function compareAnswers({ bytes, rows, answers }: Omit<ParityCase, 'name'>): Parity {
  const forest = (isOnnx(bytes) ? openOnnx(bytes).forest : readForest(bytes))!
  const predictor = predictorOf(forest)
  const walk = walkerOf(forest)
  const input = new Float64Array(predictor.inputs)
  const output = new Float64Array(predictor.outputs)
  const [found, walked] = [new Int32Array(forest.roots.length), new Int32Array(forest.roots.length)]
  let [worst, otherLeaves] = [0, 0]
  for (const [index, row] of rows.entries()) {
    for (const [at, column] of forest.columns.entries()) input[at] = columnValue(column, row[at])!
    predictor.predictOne(input, 0, output, 0)
    const wanted = [answers[index]!].flat()
    if (wanted.length !== output.length)
      throw new Error(`${output.length} outputs instead of ${wanted.length}`)
    for (const [k, value] of wanted.entries()) {
      const off = Math.abs(output[k]! - value) / Math.max(1, Math.abs(value))
      worst = Math.max(worst, Number.isNaN(off) ? Infinity : off)
    }
    predictor.leavesOf(input, 0, found)
    walk(input, 0, walked)
    for (let tree = 0; tree < found.length; tree++) if (found[tree] !== walked[tree]) otherLeaves++
  }
  return { rows: rows.length, trees: forest.roots.length, worst, otherLeaves }
}
