/** Reads the category features of a CatBoost model. */
import { refuse } from '../../../errors.ts'
import type { JsonObject } from '../../../network/layers-model.ts'
import { objectsOf, wholeOf, writtenAs } from '../document-fields.ts'
import { expectAtMost, forestLimits } from '../forest.ts'

export interface HashedFeature {
  feature_index: number
  flat_feature_index: number
  feature_id?: string
  /** The hashes of the categories that splits and combinations name. */
  values: number[]
}

/** Reads the category features. Throws `artifact_invalid`. */
export function hashedFeaturesOf(info: JsonObject): HashedFeature[] {
  const features = objectsOf(info['categorical_features'] ?? [], 'categorical_features')
  let count = 0
  return features.map((feature) => {
    const { feature_index: index, flat_feature_index: at, feature_id: name, values = [] } = feature
    const where = `categorical_features ${writtenAs(index)}`
    if (!Array.isArray(values) || !values.every((value) => Number.isInteger(value) && (value | 0) === value))
      refuse(`values of ${where} is not a list of whole numbers of 32 bits`)
    expectAtMost((count += values.length), forestLimits.categories, 'categories of splits')
    if (new Set(values).size < values.length) refuse(`${where} has a value twice`)
    return {
      feature_index: wholeOf(index, `feature_index of ${where}`),
      flat_feature_index: wholeOf(at, `flat_feature_index of ${where}`),
      ...(typeof name === 'string' ? { feature_id: name } : {}),
      values: values as number[],
    }
  })
}
