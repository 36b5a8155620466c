/** A LightGBM model of the example roses, with rows and LightGBM's outputs, as `packages/predictors/tools/roses.py` made them. */
import { readFileSync } from 'node:fs'

export interface RosesModel {
  /** The content of `model.txt`. */
  model: string
  rows: Record<string, number | string | null>[]
  /** Probabilities. */
  answers: number[]
}

export const readRosesModel = (): RosesModel =>
  JSON.parse(readFileSync(new URL('roses-lightgbm.json', import.meta.url), 'utf8')) as RosesModel
