/** Opens the trees of LightGBM, XGBoost and CatBoost. They answer within the turn of the request. */
import { refuse } from '../../errors.ts'
import type { ModelDescription } from '../../features.ts'
import { inputWidthOf } from '../../features.ts'
import type { ArtifactFiles, ArtifactFormat, OpenedArtifact } from '../format.ts'
import type { RowTexts } from '../../predictor.ts'
import { expectClasses } from '../expect-classes.ts'
import { forestLimits, type Forest } from './forest.ts'
import { isLightgbm } from './lightgbm.ts'
import { readForest } from './read-forest.ts'
import { isUbjson } from './ubjson.ts'
import { forestExplainer } from './tree-shap.ts'
import { predictorOf } from './predictor.ts'
import { hashedRowsOf } from './derived/hashed-rows.ts'

const { fileBytes } = forestLimits

export const treesFormat: ArtifactFormat = {
  limits: { 'model.txt': fileBytes, 'model.json': fileBytes, 'model.ubj': fileBytes },
  recognises(head) {
    if (isLightgbm(head)) return 'model.txt'
    if (isUbjson(head)) return 'model.ubj'
    return /^\s*\{/.test(head) ? 'model.json' : undefined
  },
  inspect(files, output) {
    const { library, columns, classes, starts } = forestOf(files)
    expectClasses(output, classes)
    return { library, columns, outputs: starts.length }
  },
  *open(manifest, files) {
    const forest = forestOf(files)
    yield
    return openForest(forest, manifest)
  },
  explain({ preprocessing }, files) {
    const forest = forestOf(files)
    const explainer = forestExplainer(forest)
    const hashedRows = hashedRowsOf(forest.columns, preprocessing)
    if (explainer === undefined || hashedRows === undefined) return explainer
    const rowOf = (input: Float64Array, texts: RowTexts): Float64Array => {
      hashedRows.begin(input, texts)
      return hashedRows.next().slice()
    }
    return { ...explainer, rowOf }
  },
}

function forestOf(files: ArtifactFiles): Forest {
  const [bytes] = Object.values(files)
  if (bytes === undefined) refuse('the artifact has no file')
  return readForest(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
}

export function openForest(forest: Forest, { preprocessing }: ModelDescription): OpenedArtifact {
  const inputs = inputWidthOf(preprocessing)
  const hashedRows = hashedRowsOf(forest.columns, preprocessing)
  const count = forest.columns.length
  if (hashedRows === undefined && count > inputs)
    refuse(`the trees take ${count} columns, the preprocessing gives ${inputs}`)
  const { outputs, memoryBytes, predictOne } = predictorOf(forest)
  const answer = new Float64Array(outputs)
  return {
    memoryBytes,
    predictor: {
      inputs,
      outputs,
      run(input, rows, output, _order, texts) {
        hashedRows?.begin(input, texts)
        for (let row = 0; row < rows; row++) {
          if (hashedRows === undefined) predictOne(input, row * inputs, answer, 0)
          else predictOne(hashedRows.next(), 0, answer, 0)
          const at = row * outputs
          for (let k = 0; k < outputs; k++) output[at + k] = answer[k]!
        }
        return undefined
      },
    },
  }
}
