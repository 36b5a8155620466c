/** Checks the SQL in a model file, slices and the business metric, before a training or a window of the monitor needs it. */
import type { Manifest } from '../../domain/model/manifest.ts'
import { snapshotColumns, type ModelDefinition, type SliceDefinition } from '../../domain/model-definition.ts'
import { shown } from '../../domain/postgres-text.ts'
import { missingColumn } from '../../domain/validation/source-issue.ts'
import { quotedIdentifier, textLiteral } from '../../domain/sql-text.ts'
import { withDuck, type Duck } from './duckdb.ts'
import { columnTypes } from './rows.ts'
import { firstLineOf } from './source-errors.ts'
import { unreadable } from './source-views.ts'
import { loadServed } from './served-table.ts'

/** Throws `source_unreadable` for a slice that cannot be computed for the test rows of a snapshot. */
export async function requireSlices(
  duck: Duck,
  path: string,
  { evaluation }: ModelDefinition,
): Promise<void> {
  for (const slice of evaluation.slices)
    try {
      await duck.run(
        `select count(*) from ${textLiteral(path)} where ${snapshotColumns.part} = 'test' and coalesce((${slice.where}), false)`,
      )
    } catch (error) {
      const all = await columnTypes(duck, textLiteral(path))
      const columns = [...all.keys()].filter((name) => !name.startsWith('_'))
      throw unreadable(sliceIssue(slice, error, columns))
    }
}

/** Returns the first slice that is no SQL or names a column that a source with these columns does not have. */
export async function issueOfSlices(
  { features, evaluation: { slices } }: ModelDefinition,
  ofSource: readonly string[],
): Promise<string | undefined> {
  if (slices.length === 0) return undefined
  const lookedUp = Object.keys(features).filter((name) => features[name]?.from !== undefined)
  const columns = [...new Set([...ofSource, ...lookedUp])]
  return withDuck(async (duck) => {
    // The types of the other columns are not known yet, so errors of types are left to the snapshot.
    const typeOf = (name: string) => (features[name]?.kind === 'number' ? 'double' : 'varchar')
    const all = [...columns, ...Object.values(snapshotColumns)]
    await duck.run(
      `create table source (${all.map((name) => `${quotedIdentifier(name)} ${typeOf(name)}`).join(', ')})`,
    )
    for (const slice of slices)
      try {
        await duck.run(`select count(*) from source where coalesce((${slice.where}), false)`)
      } catch (error) {
        if (missingIn(error) !== undefined || /^parser error/i.test(firstLineOf(error)))
          return sliceIssue(slice, error, columns)
      }
    return undefined
  })
}

/** Returns why the business metric cannot be computed from what is served. */
export async function issueOfBusiness({
  features,
  label: { output },
  monitor,
}: ModelDefinition): Promise<string | undefined> {
  const business = monitor?.business
  if (business === undefined) return undefined
  const preprocessing = Object.entries(features).map(([name, { kind }]) => ({ name, kind }))
  return withDuck(async (duck) => {
    await loadServed(duck, [], { output, preprocessing: preprocessing as Manifest['preprocessing'] })
    try {
      await duck.run(`select cast((${business.perPrediction}) as double) from served`)
      return undefined
    } catch (error) {
      const names = [...Object.keys(features), 'prediction', 'predicted', 'outcome']
      return `monitor.business.perPrediction: ${reasonIn(error, names)}`
    }
  })
}

const sliceIssue = ({ name, where }: SliceDefinition, error: unknown, columns: readonly string[]): string =>
  `evaluation.slices: "${shown(name)}" (${shown(where)}): ${reasonIn(error, columns)}`

function reasonIn(error: unknown, columns: readonly string[]): string {
  const missing = missingIn(error)
  return missing === undefined ? firstLineOf(error) : missingColumn(missing, 'which this SQL names', columns)
}

const missingIn = (error: unknown): string | undefined =>
  /^Binder Error: Referenced column "(.*?)" not found/.exec(firstLineOf(error))?.[1]
