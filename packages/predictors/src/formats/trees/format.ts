/** Opens the trees of LightGBM, XGBoost and CatBoost. They answer within the turn of the request. */
import { refuse } from '../../errors.ts'
import type { ArtifactFiles, ArtifactFormat } from '../format.ts'
import { expectClasses } from '../expect-classes.ts'
import { headOf } from '../foreign.ts'
import { compressTrees, fewestTrees } from './compress-trees.ts'
import { forestLimits, type Forest } from './forest.ts'
import { isLightgbm } from './lightgbm.ts'
import { readForest } from './read-forest.ts'
import { isUbjson } from './ubjson.ts'
import { forestExplainer } from './tree-shap.ts'
import { openForest } from './open-forest.ts'

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
  explain(_manifest, files) {
    return forestExplainer(forestOf(files))
  },
  compress(_manifest, files, { to, trees, meanDifference: mean }, rows) {
    if (to === 'prune') refuse('trees have no units, and can be compressed to fewer-trees')
    const bytes = onlyFile(files)
    const made = compressTrees(
      bytes,
      to === 'fewer-trees' ? { to, trees: trees ?? fewestTrees(bytes, { ...rows(), mean }) } : { to },
    )
    const { rawBound, answerBound } = made
    return {
      // An XGBoost file may change its name.
      files: { [treesFormat.recognises!(headOf(made.bytes), made.bytes)!]: made.bytes },
      counts: { trees: made.trees, leaves: made.leaves },
      rawBound,
      answerBound,
    }
  },
}

const forestOf = (files: ArtifactFiles): Forest => readForest(onlyFile(files))

function onlyFile(files: ArtifactFiles): Uint8Array {
  const [bytes = refuse('the artifact has no file')] = Object.values(files)
  return bytes
}
