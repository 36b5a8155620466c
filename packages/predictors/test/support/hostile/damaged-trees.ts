/** Generates trees with a part that is lost, used twice or of the wrong type. A reader that does not check it gives other answers. */
import { bytesOfModel, catboost, changedModel, xgboostTree, type HostileFile } from './hostile-models.ts'

export const damagedTrees: readonly HostileFile[] = [
  [
    'xgboost-default.json',
    () => xgboostTree((tree) => Object.assign(tree['default_left'] as [], ['abc'])),
    /default_left of tree 0 has "abc" in place of 0 or 1/,
  ],
  [
    'xgboost-type.json',
    () => xgboostTree((tree) => Object.assign(tree['split_type'] as [], [2.5])),
    /split_type of tree 0 has 2.5 in place of 0 or 1/,
  ],
  [
    'xgboost-untyped.json',
    () => xgboostTree((tree) => delete tree['split_type']),
    /categories of node \d+, which does not split by categories/,
  ],
  [
    'xgboost-lost-nodes.json',
    () => changedModel('xgboost-binary', /"left_children":\[1,/, '"left_children":[-1,'),
    /tree 0 has a node or a leaf that no row reaches/,
  ],
  [
    'xgboost-classes.json',
    () => changedModel('xgboost-binary', /"num_class":"0"/, '"num_class":"2.5"'),
    /num_class is "2.5", which is not a whole number/,
  ],
  [
    'xgboost-large-base.json',
    () => changedModel('xgboost-binary', /"base_score":"[^"]*"/, '"base_score":"1e300"'),
    /base_score is "1e300", not a finite number/,
  ],
  [
    'xgboost-objective.json',
    () => changedModel('xgboost-binary', /"name":"binary:logistic"/, '"name":null'),
    /the name of the objective is null/,
  ],
  [
    'lightgbm-child.txt',
    () => changedModel('lightgbm-binary', /left_child=\S+/, 'left_child=abc'),
    /tree 0 has a value of left_child that is not a whole number/,
  ],
  [
    'lightgbm-leaf-twice.txt',
    () => changedModel('lightgbm-binary', /left_child=(.*?)-(?!1\b)\d+/, 'left_child=$1-1'),
    /tree 0 reaches leaf 0 twice/,
  ],
  [
    'lightgbm-lost-nodes.txt',
    () => changedModel('lightgbm-binary', /right_child=\d+/, 'right_child=-1'),
    /tree 0 (reaches leaf 0 twice|has a node or a leaf that no row reaches)/,
  ],
  [
    'lightgbm-without-leaves.txt',
    () => changedModel('lightgbm-binary', /num_leaves=.*\n/, ''),
    /the file has no num_leaves/,
  ],
  [
    'catboost-scale.json',
    () => catboost((file) => Object.assign(file, { scale_and_bias: [1, [0], 3] })),
    /scale_and_bias is \[1,\[0\],3\], not a finite number/,
  ],
  [
    'catboost-infinite.json',
    () =>
      Buffer.from(
        catboost(() => {})
          .toString()
          .replace(/"scale_and_bias":\[[^,]+,/, '"scale_and_bias":[1e400,'),
      ),
    /scale_and_bias is .*, not a finite number/,
  ],
  [
    'catboost-type.json',
    () => changedModel('catboost-binary', /"split_type":\s*"FloatFeature"/, '"split_type":"OneHotFeature"'),
    /tree 0 has a split of "OneHotFeature"/,
  ],
  [
    'catboost-index.json',
    () =>
      catboost((file) => Object.assign(file.features_info.float_features[0]!, { flat_feature_index: null })),
    /flat_feature_index is null, which is not a whole number/,
  ],
  [
    'xgboost-text.ubj',
    () => {
      const bytes = Buffer.from(bytesOfModel('xgboost-binary-ubj'))
      bytes[bytes.indexOf('learner')] = 0xff
      return bytes
    },
    /a text at byte \d+ that is not UTF-8/,
  ],
]
