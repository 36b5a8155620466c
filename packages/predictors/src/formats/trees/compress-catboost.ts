/** Writes a smaller JSON file of CatBoost: rounded leaf values or fewer trees, without leaf weights and white space. */
import type { JsonObject } from '../../network/layers-model.ts'
import { readCatboost } from './catboost.ts'
import type { ParentTrees, Round } from './round-leaves.ts'

export function parentOfCatboost(document: JsonObject): ParentTrees {
  const name = document['oblivious_trees'] === undefined ? 'trees' : 'oblivious_trees'
  const write = (kept: number, round: Round): Uint8Array => {
    const trees = (document[name] as JsonObject[]).slice(0, kept).map((tree) => {
      const values: number[] = []
      withLeaves(tree, (value) => {
        values.push(value)
        return value
      })
      const rounded = round(values).values()
      return withLeaves(tree, () => rounded.next().value!)
    })
    return new TextEncoder().encode(JSON.stringify({ ...document, [name]: trees }))
  }
  return { forest: readCatboost(document), perRound: 1, write }
}

/** Returns a tree, or a branch of one, with other leaf values and without weights. */
function withLeaves(branch: JsonObject, of: (value: number) => number): JsonObject {
  const { weight: _, leaf_weights: __, leaf_values: values, value, left, right, ...rest } = branch
  if (Array.isArray(values)) return { ...rest, leaf_values: values.map(of) }
  if (left === undefined)
    return { ...rest, value: Array.isArray(value) ? value.map(of) : of(value as number) }
  return { ...rest, left: withLeaves(left as JsonObject, of), right: withLeaves(right as JsonObject, of) }
}
