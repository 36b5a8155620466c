/** A LightGBM model of the example roses, with rows and LightGBM's outputs, as `scripts/formats/roses.py` made them. */
import { readFileSync } from 'node:fs'
import type { FeatureRow } from '../../../domain/model/features.ts'

export interface RosesModel {
  /** The content of `model.txt`. */
  model: string
  rows: FeatureRow[]
  /** Probabilities. */
  answers: number[]
}

export const readRosesModel = (): RosesModel =>
  JSON.parse(readFileSync(new URL('roses-lightgbm.json', import.meta.url), 'utf8')) as RosesModel
