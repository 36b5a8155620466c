/** Reads the trees of a file by its content. Everything is parsed as data. */
import { isPredictorError, refuse } from '../../errors.ts'
import type { JsonObject } from '../../network/layers-model.ts'
import { headOf, refuseForeign } from '../foreign.ts'
import { isCatboost, readCatboost } from './catboost.ts'
import type { Forest } from './forest.ts'
import { parseModelJson, textOfFile } from './bounded-json.ts'
import { isLightgbm, readLightgbm } from './lightgbm.ts'
import { isUbjson, readUbjson } from './ubjson.ts'
import { isXgboost, readXgboost } from './xgboost.ts'

const unknownFile =
  'the file is not a model of LightGBM (model.txt), XGBoost (.json, .ubj) or CatBoost (.json)'

/** Reads the trees of a file. Throws `artifact_invalid` with what is wrong with it. */
export const readForest = (bytes: Uint8Array): Forest =>
  readWith(bytes, { lightgbm: readLightgbm, xgboost: readXgboost, catboost: readCatboost })

/** Reads a file with the function of the library that wrote it. Throws `artifact_invalid` with what is wrong with it. */
export function readWith<Read>(
  bytes: Uint8Array,
  {
    lightgbm,
    xgboost,
    catboost,
  }: {
    lightgbm: (text: string) => Read
    xgboost: (document: JsonObject) => Read
    catboost: (document: JsonObject) => Read
  },
): Read {
  const head = headOf(bytes)
  refuseForeign(bytes, head)
  try {
    if (isLightgbm(head)) return lightgbm(textOfFile(bytes))
    const document = documentOf(bytes, head)
    if (isXgboost(document)) return xgboost(document)
    if (isCatboost(document)) return catboost(document)
    return refuse(unknownFile)
  } catch (error) {
    if (isPredictorError(error)) throw error
    // A value does not have the type that a library writes, such as a text instead of a list.
    return refuse(`the file cannot be read as a model: ${(error as Error).message.slice(0, 200)}`)
  }
}

function documentOf(bytes: Uint8Array, head: string): JsonObject {
  const value = isUbjson(head) ? readUbjson(bytes) : jsonOf(bytes, head)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(unknownFile)
  return value as JsonObject
}

function jsonOf(bytes: Uint8Array, head: string): unknown {
  if (!/^\s*\{/.test(head)) refuse(unknownFile)
  try {
    return parseModelJson(bytes)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    const plain = withoutNaN(bytes)
    if (plain !== undefined) return jsonOf(plain, head)
    return refuse(`the file is not complete JSON: ${error.message.slice(0, 200)}`)
  }
}

/**
 * Replaces NaN by null. XGBoost writes NaN among numbers that no prediction needs, such as base_weights; null where a number is needed is
 * refused. Undefined for a file without NaN.
 */
function withoutNaN(bytes: Uint8Array): Uint8Array | undefined {
  const text = textOfFile(bytes)
  const plain = text.replaceAll(/([[,:])-?(?:NaN|nan|Infinity|inf)(?=[,\]}])/g, '$1null')
  return plain === text ? undefined : new TextEncoder().encode(plain)
}
