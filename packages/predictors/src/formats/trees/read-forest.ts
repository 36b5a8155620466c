/** Reads the trees of a file by its content. Everything is parsed as data. */
import { isPredictorError, refuse } from '../../errors.ts'
import type { JsonObject } from '../../network/layers-model.ts'
import { refuseForeign } from '../foreign.ts'
import { isCatboost, readCatboost } from './catboost/catboost.ts'
import type { Forest } from './forest.ts'
import { parseModelJson, textOfFile } from './bounded-json.ts'
import { isLightgbm, readLightgbm } from './lightgbm.ts'
import { isUbjson, readUbjson } from './ubjson.ts'
import { isXgboost, readXgboost } from './xgboost.ts'

const unknownFile =
  'the file is not a model of LightGBM (model.txt), XGBoost (.json, .ubj) or CatBoost (.json)'

/** Reads the trees of a file. Throws `artifact_invalid` with what is wrong with it. */
export function readForest(bytes: Buffer): Forest {
  const head = bytes.toString('latin1', 0, 64)
  refuseForeign(bytes, head)
  try {
    if (isLightgbm(head)) return readLightgbm(textOfFile(bytes))
    const document = documentOf(bytes, head)
    if (isXgboost(document)) return readXgboost(document)
    if (isCatboost(document)) return readCatboost(document)
    return refuse(unknownFile)
  } catch (error) {
    if (isPredictorError(error)) throw error
    // A value does not have the type that a library writes, such as a text instead of a list.
    return refuse(`the file cannot be read as a model: ${(error as Error).message.slice(0, 200)}`)
  }
}

function documentOf(bytes: Buffer, head: string): JsonObject {
  const value = isUbjson(head) ? readUbjson(bytes) : jsonOf(bytes, head)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(unknownFile)
  return value as JsonObject
}

function jsonOf(bytes: Buffer, head: string): unknown {
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
function withoutNaN(bytes: Buffer): Buffer | undefined {
  // Most damaged files have none, and a text of 64 MiB takes that much again.
  if (!['NaN', 'nan', 'inf', 'Inf'].some((word) => bytes.includes(word))) return undefined
  const text = bytes.toString('utf8')
  const plain = text.replaceAll(/([[,:])-?(?:NaN|nan|Infinity|inf)(?=[,\]}])/g, '$1null')
  return plain === text ? undefined : Buffer.from(plain)
}
