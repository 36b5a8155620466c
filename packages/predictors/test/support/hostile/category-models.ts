/** Damages models of CatBoost with categories: tables that contradict the trees, hashes that are not numbers, lists that would fill the memory. */
import { readCategoryCases } from '../parity.ts'
import type { HostileFile } from './hostile-models.ts'

type Json = Record<string, unknown>
interface Table extends Json {
  hash_map: unknown[]
  hash_stride: unknown
  counter_denominator: unknown
}
interface Ctr extends Json {
  identifier: string
  elements: Json[]
  borders: number[]
}
interface Tree extends Json {
  splits: Json[]
}
export interface CategoryFile extends Json {
  features_info: { categorical_features: Json[]; float_features: Json[]; ctrs: Ctr[] }
  ctr_data: Record<string, Table>
  model_info: { params: { loss_function: Json; cat_feature_params: Record<string, Json[]> } }
  oblivious_trees: Tree[]
}

const cases = readCategoryCases()

/** Returns a packed model after a change. */
export function categoryModel(name: string, change: (file: CategoryFile) => unknown = () => {}): Buffer {
  const { bytes } = cases.find((each) => each.name === `catboost-${name}-0`)!
  const file = JSON.parse(bytes.toString('utf8')) as CategoryFile
  change(file)
  return Buffer.from(JSON.stringify(file))
}

const firstTable = ({ ctr_data: data }: CategoryFile): Table => Object.values(data)[0]!
const splitOf = ({ oblivious_trees: trees }: CategoryFile, type: string): Json =>
  trees.flatMap(({ splits }) => splits).find(({ split_type: own }) => own === type)!
/** Changes the elements of the first CTR with an element of this kind, and its identifier with them. */
function changeElement(file: CategoryFile, kind: string, change: Json): void {
  const ctr = file.features_info.ctrs.find(({ elements }) =>
    elements.some((element) => element['combination_element'] === kind),
  )!
  Object.assign(
    ctr.elements.find((element) => element['combination_element'] === kind)!,
    change,
  )
  const table = file.ctr_data[ctr.identifier]!
  ctr.identifier = JSON.stringify({ identifier: ctr.elements, type: ctr['ctr_type'] })
  file.ctr_data[ctr.identifier] = table
}

const ctrs = (change: (file: CategoryFile) => unknown) => () => categoryModel('ctrs', change)
const combinations = (change: (file: CategoryFile) => unknown) => () => categoryModel('combinations', change)
const oneHot = (change: (file: CategoryFile) => unknown) => () => categoryModel('one-hot', change)

export const hostileCategories: readonly HostileFile[] = [
  ['ctr-none.json', ctrs((file) => Object.assign(file, { ctr_data: null })), /ctr_data is not an object/],
  ['ctr-lost.json', ctrs((file) => Object.assign(file, { ctr_data: {} })), /ctr_data lacks the table/],
  [
    'ctr-null.json',
    ctrs(({ ctr_data: data }) => Object.assign(data, { [Object.keys(data)[0]!]: null })),
    /is not an object/,
  ],
  [
    'ctr-stride.json',
    ctrs((file) => (firstTable(file).hash_stride = 2)),
    /has 2 values a category, which Borders does not have/,
  ],
  ['ctr-stride-0.json', ctrs((file) => (firstTable(file).hash_stride = 0)), /has 0 values a category/],
  [
    'ctr-stride-text.json',
    ctrs((file) => (firstTable(file).hash_stride = 'three')),
    /hash_stride of .* is "three", which is not a whole number/,
  ],
  [
    'ctr-stride-huge.json',
    ctrs((file) => (firstTable(file).hash_stride = 2 ** 40)),
    /not a list of 1099511627776 values a category/,
  ],
  ['ctr-cut.json', ctrs((file) => firstTable(file).hash_map.pop()), /not a list of 3 values a category/],
  ['ctr-empty.json', ctrs((file) => (firstTable(file).hash_map = [])), /not a list of 3 values a category/],
  [
    'ctr-twice.json',
    ctrs((file) => firstTable(file).hash_map.push(...firstTable(file).hash_map.slice(0, 3))),
    /has the hash \d+ twice/,
  ],
  [
    'ctr-number.json',
    ctrs((file) => (firstTable(file).hash_map[0] = 7)),
    /has the hash 7, which is not a text of 64 bits/,
  ],
  [
    'ctr-large.json',
    ctrs((file) => (firstTable(file).hash_map[0] = '18446744073709551616')),
    /which is not a text of 64 bits/,
  ],
  [
    'ctr-negative.json',
    ctrs((file) => (firstTable(file).hash_map[0] = '-1')),
    /which is not a text of 64 bits/,
  ],
  [
    'ctr-count.json',
    ctrs((file) => (firstTable(file).hash_map[1] = 'many')),
    /has the value "many", which is not a count/,
  ],
  [
    'ctr-denominator.json',
    combinations(({ ctr_data: data }) => {
      for (const table of Object.values(data)) table.counter_denominator = -1
    }),
    /counter_denominator of .* is -1/,
  ],
  [
    'ctr-type.json',
    () => Buffer.from(categoryModel('combinations').toString().replaceAll('Counter', 'Median')),
    /which Median does not have/,
  ],
  [
    'ctr-identifier.json',
    ctrs(({ features_info: { ctrs: list } }) => (list[0]!.elements[0]!['cat_feature_index'] = 2)),
    /has other elements or another type than its identifier says/,
  ],
  [
    'ctr-identifier-null.json',
    ctrs(({ features_info: { ctrs: list } }) => Object.assign(list[0]!, { identifier: null })),
    /has other elements or another type/,
  ],
  [
    'ctr-prior.json',
    ctrs(({ features_info: { ctrs: list } }) => (list[0]!['prior_numerator'] = 'half')),
    /prior_numerator of a CTR is "half"/,
  ],
  [
    'ctr-target.json',
    ctrs(({ features_info: { ctrs: list } }) => (list[0]!['target_border_idx'] = 1)),
    /target_border_idx 1 of 1/,
  ],
  [
    'ctr-borders.json',
    ctrs(({ features_info: { ctrs: list } }) => Object.assign(list[0]!, { borders: null })),
    /borders of a CTR is null, not a list/,
  ],
  [
    'ctr-element.json',
    combinations((file) => changeElement(file, 'cat_feature_value', { cat_feature_index: 99 })),
    /reads a category that does not exist/,
  ],
  [
    'ctr-kind.json',
    combinations((file) => changeElement(file, 'cat_feature_value', { combination_element: 'loop' })),
    /has the element "loop"/,
  ],
  [
    'ctr-border.json',
    combinations((file) => changeElement(file, 'float_feature', { border: 0.123 })),
    /reads the border 0.123, which its float feature lacks/,
  ],
  [
    'ctr-value.json',
    combinations((file) => changeElement(file, 'cat_feature_exact_value', { value: 5 })),
    /reads the category 5, which its feature lacks/,
  ],
  [
    'ctr-split.json',
    ctrs((file) => (splitOf(file, 'OnlineCtr')['split_index'] = 1_000_000)),
    /a split of categories that is not the one at its split_index/,
  ],
  [
    'ctr-split-border.json',
    ctrs((file) => (splitOf(file, 'OnlineCtr')['border'] = 0.5)),
    /a split of categories that is not the one at its split_index/,
  ],
  [
    'ctr-split-lost.json',
    ctrs((file) => delete splitOf(file, 'OnlineCtr')['split_index']),
    /splits by a CTR that does not exist/,
  ],
  [
    'one-hot-split.json',
    oneHot((file) => {
      const split = splitOf(file, 'OneHotFeature')
      split['value'] = 5
      delete split['split_index']
    }),
    /splits by a category 5 that its feature lacks/,
  ],
  [
    'one-hot-twice.json',
    oneHot(
      ({
        features_info: {
          categorical_features: [feature],
        },
      }) => (feature!['values'] = [5, 5]),
    ),
    /has a value twice/,
  ],
  [
    'one-hot-text.json',
    oneHot(
      ({
        features_info: {
          categorical_features: [feature],
        },
      }) => (feature!['values'] = ['red']),
    ),
    /is not a list of whole numbers of 32 bits/,
  ],
  [
    'one-hot-huge.json',
    oneHot(
      ({
        features_info: {
          categorical_features: [feature],
        },
      }) => {
        feature!['values'] = Array.from({ length: 1_000_001 }, (_, at) => at)
      },
    ),
    /1000001 categories of splits, more than 1000000/,
  ],
  [
    'one-hot-sets.json',
    oneHot((file) => {
      const [feature, ...others] = file.features_info.categorical_features
      const trees = 5_000
      for (const other of others) other['values'] = []
      const index = feature!['feature_index']
      feature!['values'] = Array.from({ length: 40 * trees }, (_, at) => at)
      file.features_info.ctrs = []
      file.oblivious_trees = Array.from({ length: trees }, (_, tree) => ({
        leaf_values: Array.from({ length: 16 }, () => 1),
        splits: [39, 38, 37, 36].map((part) => ({
          split_type: 'OneHotFeature',
          cat_feature_index: index,
          value: part * trees + tree,
        })),
      }))
    }),
    /\d+ words of category sets, more than 8000000/,
  ],
  [
    'ctr-wide.json',
    ctrs((file) => {
      const [ctr] = file.features_info.ctrs
      const count = 30_000
      const tableOf = (type: string, map: unknown[], stride: number): Ctr => {
        const identifier = JSON.stringify({ identifier: ctr!.elements, type })
        file.ctr_data[identifier] = { hash_map: map, hash_stride: stride, counter_denominator: 1 }
        return { ...ctr!, identifier, ctr_type: type, target_border_idx: 0 }
      }
      const wide = ['1', ...Array.from({ length: count }, () => 1)]
      const long = Array.from({ length: count }, (_, at) => [String(at), 1]).flat()
      file.features_info.ctrs = [tableOf('Buckets', wide, count + 1), tableOf('Counter', long, 2)]
    }),
    /\d+ numbers in the table .* of ctr_data, more than 20000000/,
  ],
  [
    'category-index.json',
    oneHot(({ features_info: { categorical_features: list } }) => (list[1]!['feature_index'] = 0)),
    /two categorical_features have one feature_index/,
  ],
  [
    'category-place.json',
    oneHot(({ features_info: { categorical_features: list } }) => (list[1]!['flat_feature_index'] = 1)),
    /two features have one flat_feature_index/,
  ],
  [
    'ctr-elements.json',
    ctrs((file) => {
      const { ctrs: list } = file.features_info
      const element = list[0]!.elements[0]!
      list[0]!.elements = Array.from({ length: 100_001 }, () => element)
    }),
    /100001 elements of combinations, more than 100000/,
  ],
  [
    'ctr-many.json',
    ctrs((file) => {
      const { ctrs: list } = file.features_info
      file.features_info.ctrs = Array.from({ length: 20_000 }, () => ({ ...list[0]!, borders: [] }))
      file.model_info.params.loss_function = { type: 'Logloss' }
      for (const [at, ctr] of file.features_info.ctrs.entries()) ctr['prior_numerator'] = at
    }),
    /\d+ columns and CTRs, more than 10000/,
  ],
  [
    'ctr-targets.json',
    ctrs((file) => (file.model_info.params.loss_function = { type: 'MultiRMSE', params: {} })),
    /several targets \(MultiRMSE\), and CatBoost's JSON keeps the statistics of categories for one of them/,
  ],
  [
    'ctr-survival.json',
    ctrs((file) => (file.model_info.params.loss_function = { type: 'SurvivalAft', params: {} })),
    /several targets \(SurvivalAft\)/,
  ],
  [
    'ctr-own-targets.json',
    ctrs(
      (file) => (file.model_info.params.loss_function = { type: 'PythonUserDefinedMultiTarget', params: {} }),
    ),
    /several targets \(PythonUserDefinedMultiTarget\)/,
  ],
  [
    'ctr-bins.json',
    ctrs(({ model_info: { params } }) => {
      const [first] = params.cat_feature_params['simple_ctrs']!
      params.cat_feature_params['simple_ctrs']!.push({ ...first, target_binarization: { border_count: 5 } })
    }),
    /bins its target in several ways.*one TargetBorderCount/,
  ],
  [
    'ctr-summed-bins.json',
    ctrs((file) => {
      const { params } = file.model_info
      const [first] = params.cat_feature_params['simple_ctrs']!
      const simple_ctrs = [{ ...first, target_binarization: { border_count: 5 } }]
      Object.assign(file, {
        model_info: {
          loss_function: JSON.stringify(params.loss_function),
          'model0:params': params,
          'model1:params': { ...params, cat_feature_params: { ...params.cat_feature_params, simple_ctrs } },
        },
      })
    }),
    /bins its target in several ways.*one TargetBorderCount/,
  ],
  [
    'ctr-same.json',
    ctrs(({ features_info: { ctrs: list } }) => list.push(list[0]!)),
    /bins its target in several ways/,
  ],
]
