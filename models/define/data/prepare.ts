/** Checks the `prepare` of a model file, and joins its fields and expressions to the features. */
import { digestedFeatures, isDigested, type Features } from '../../../domain/model/features.ts'
import { digestReason } from '../../../domain/model/logged-rows.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'
import { checkFeatures } from './features.ts'

export interface PrepareSpec {
  /** What requests and the source bring for the expressions alone, and the model does not take: names with `number(…)` and `category(…)`. */
  fields?: Features
  /** The features that are computed, each with an expression in DuckDB SQL over the other features and fields of the same row. */
  columns: Readonly<Record<string, string>>
}

const names = fieldNames<PrepareSpec>({ fields: 0, columns: 0 })
const maxLength = 4_000

/** The first of the features that the expression names. */
const namedIn = (sql: string, names: readonly string[]): string | undefined =>
  names.find((name) => sql.toLowerCase().split(/\W+/).includes(name.toLowerCase()))

/** Returns all features: those of the model, the computed ones with their expressions, and the fields that only these read. */
export function withPrepare(report: IssueCollector, features: Features, prepare: unknown): Features {
  if (prepare === undefined) return features
  if (typeof prepare !== 'object' || prepare === null) {
    report('prepare', `an object such as { columns: { ratio: 'charges / nullif(months, 0)' } } is required`)
    return features
  }
  reportUnknown(report, 'prepare', prepare, names)
  const { fields = {}, columns = {} } = prepare as Partial<PrepareSpec>
  if (Object.keys(fields).length > 0) checkFeatures(report, fields, 'prepare.fields')
  const taken = new Set(Object.keys(features).map((name) => name.toLowerCase()))
  for (const [name, field] of Object.entries(fields)) {
    if (taken.has(name.toLowerCase()))
      report(`prepare.fields.${name}`, 'is a feature already, which expressions may read: leave it out here')
    if (field?.from !== undefined) report(`prepare.fields.${name}`, 'is looked up: declare it in features')
  }
  if (Object.keys(columns).length === 0) report('prepare.columns', 'at least one expression is required')
  const computed: Features = {}
  const digested = digestedFeatures({ ...features, ...fields })
  for (const [name, sql] of Object.entries(columns) as [string, unknown][]) {
    const place = `prepare.columns.${name}`
    const feature = Object.hasOwn(features, name) ? features[name] : undefined
    if (feature === undefined) report(place, `is not a feature: declare ${name} in features, with its type`)
    else if (feature.from !== undefined) report(place, 'is looked up: give the computed feature another name')
    else if (feature.column !== undefined)
      report(place, 'has the column of a file, and is computed: leave one of the two out')
    if (typeof sql !== 'string' || sql.trim() === '' || sql.length > maxLength)
      report(
        place,
        `DuckDB SQL of up to ${maxLength} characters is required, such as 'charges / nullif(months, 0)'`,
      )
    else if (feature !== undefined) {
      const isNumber = (feature as Features[string] | null)?.kind === 'number'
      const read = isNumber || isDigested(feature) ? undefined : namedIn(sql, digested)
      if (read !== undefined)
        report(
          place,
          `reads ${read}, and ${digestReason([read])}, but the log would keep this text: compute a number, declare ${name} as text({ log: 'digest' }), or write log: 'value' for ${read}`,
        )
      computed[name] = { ...feature, sql: sql.trim() }
    }
  }
  const unmodelled = Object.entries(fields).map(([name, field]) => [name, { ...field, use: 'prepare' }])
  return { ...features, ...computed, ...(Object.fromEntries(unmodelled) as Features) }
}
