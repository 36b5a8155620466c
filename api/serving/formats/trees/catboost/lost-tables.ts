/**
 * Refuses models whose statistics of categories are not complete in CatBoost's JSON. Training keeps a table for each target and for each
 * way to bin a target, but the file names a table only by its combination and type, and so holds one of them.
 */
import { refuse, type JsonObject } from '../../../network/layers-model.ts'
import { entriesIn } from '../document-fields.ts'
import { isCount, type CtrFeature } from './category-tables.ts'

const lossesOfTargets = [
  'MultiRMSE',
  'MultiRMSEWithMissingValues',
  'MultiLogloss',
  'MultiCrossEntropy',
  'SurvivalAft',
  'PythonUserDefinedMultiTarget',
]

/**
 * Throws `artifact_invalid` for tables of several targets or bins. `trainings`: the parameters of each model of a sum, if the file has
 * them.
 */
export function refuseLostTables(
  ctrs: readonly CtrFeature[],
  { loss, trainings }: { loss: string; trainings: readonly unknown[] },
): void {
  const ofTargets = ctrs.filter(({ ctr_type: type }) => !isCount(type))
  if (ofTargets.length === 0) return
  const remedy = `let it count categories (simple_ctr=['Counter'], combinations_ctr=['Counter'])`
  if (lossesOfTargets.includes(loss))
    refuse(
      `the model has several targets (${loss}), and CatBoost's JSON keeps the statistics of categories for one of them: ${remedy}, or raise one_hot_max_size`,
    )
  const keys = ofTargets.map(
    ({ identifier, target_border_idx: border, prior_numerator: prior, prior_denomerator: weight }) =>
      JSON.stringify([identifier, border, prior, weight]),
  )
  if (new Set(keys).size < keys.length || binsTwice(trainings))
    refuse(
      `the model bins its target in several ways, and CatBoost's JSON keeps the statistics of categories for one of them: give simple_ctr, combinations_ctr and per_feature_ctr one TargetBorderCount, or ${remedy}`,
    )
}

interface CtrSettings {
  ctr_type?: unknown
  target_binarization?: unknown
}

/** Whether the settings of the trainings have one type of CTR with several bins of the target. */
function binsTwice(trainings: readonly unknown[]): boolean {
  const settings = new Map<string, CtrSettings[]>()
  for (const training of trainings) {
    const { simple_ctrs, combinations_ctrs, per_feature_ctrs } =
      (training as { cat_feature_params?: JsonObject } | null | undefined)?.cat_feature_params ?? {}
    for (const [place, list] of [
      ...entriesIn(per_feature_ctrs),
      ...entriesIn({ simple_ctrs, combinations_ctrs }),
    ])
      if (Array.isArray(list))
        settings.set(place, [...(settings.get(place) ?? []), ...(list as CtrSettings[])])
  }
  return [...settings.values()].some((list) => {
    const bins = list.map(({ ctr_type: type, target_binarization: bin }) => JSON.stringify([type, bin]))
    const types = list.map(({ ctr_type: type }) => type)
    return new Set(bins).size > new Set(types).size
  })
}
