/** Parses `columns.json`, which names the columns of an artifact and the codes of their categories when its file does not. */
import type { DeclaredColumn } from '@tenure/predictors/features'
import { DomainError } from '../errors.ts'

const maxColumns = 10_000
const maxValues = 1_000_000

/** Returns the columns in the order of the artifact. Throws `artifact_invalid`, naming the entry. */
export function parseDeclaredColumns(given: unknown): DeclaredColumn[] {
  if (!Array.isArray(given) || given.length === 0 || given.length > maxColumns)
    return refuse(`columns.json is not a list of 1 to ${maxColumns} columns`)
  return given.map((each: unknown, index) => {
    const where = `column ${index} of columns.json`
    if (typeof each === 'string') return { name: each }
    if (typeof each !== 'object' || each === null || Array.isArray(each))
      return refuse(`${where} is not an object`)
    const { name, vocabulary, fill, ...more } = each as Record<string, unknown>
    const [unknown] = Object.keys(more)
    if (unknown !== undefined) refuse(`${where} has an unknown field ${JSON.stringify(unknown.slice(0, 60))}`)
    if (typeof name !== 'string' || name === '') return refuse(`${where} has no "name"`)
    if (vocabulary !== undefined && !isVocabulary(vocabulary))
      return refuse(`"vocabulary" of ${where} is not a list of at most ${maxValues} texts or numbers`)
    if (fill !== undefined && (typeof fill !== 'number' || !Number.isFinite(fill)))
      return refuse(`"fill" of ${where} is not a number`)
    return { name, vocabulary: vocabulary?.map(String), fill }
  })
}

const isVocabulary = (given: unknown): given is (string | number)[] =>
  Array.isArray(given) &&
  given.length <= maxValues &&
  given.every((value) => typeof value === 'string' || typeof value === 'number')

function refuse(why: string): never {
  throw new DomainError('artifact_invalid', why)
}
