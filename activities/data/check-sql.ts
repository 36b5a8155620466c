/** Checks the SQL in a model file, slices and the business metric, before a training or a window of the monitor needs it. */
import { digestedFeatures } from '../../domain/model/features.ts'
import { digestReason } from '../../domain/model/logged-rows.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import {
  snapshotColumns,
  type ModelDefinition,
  type SliceDefinition,
  type SourceDefinition,
} from '../../domain/model-definition.ts'
import { shown } from '../../domain/postgres-text.ts'
import { standInText } from '../../domain/tasks/judged-words.ts'
import { missingColumn } from '../../domain/validation/source-issue.ts'
import { quotedIdentifier, textLiteral } from '../../domain/sql-text.ts'
import { withDuck, type Duck } from './duckdb.ts'
import { columnTypes } from './rows.ts'
import { firstLineOf, missingIn } from './source-errors.ts'
import { unreadable } from './source-views.ts'
import { loadServed, sliceMembers, answerColumns, digestIn, type ServedTable } from './served-table.ts'

/** Throws `source_unreadable` for a slice that cannot be computed for the test rows of a snapshot. */
export async function requireSlices(
  duck: Duck,
  path: string,
  { evaluation, source }: ModelDefinition,
): Promise<void> {
  for (const slice of evaluation.slices)
    try {
      await duck.run(
        `select count(*) from ${textLiteral(path)} where ${snapshotColumns.part} = 'test' and coalesce((${slice.where}), false)`,
      )
    } catch (error) {
      const all = await columnTypes(duck, textLiteral(path))
      const columns = [...all.keys()].filter((name) => !name.startsWith('_'))
      throw unreadable(sliceIssue(slice, reasonIn(error, columns, source.kind)))
    }
}

/** The SQL may be of a file that nobody has approved. Its tables are empty, so a statement takes a moment. */
const closed = { isClosed: true, limitMs: 5_000 }

/** Returns the first slice that is no SQL or names a column that a source with these columns does not have. */
export async function issueOfSlices(
  { features, evaluation: { slices }, source: { kind } }: ModelDefinition,
  ofSource: readonly string[],
): Promise<string | undefined> {
  if (slices.length === 0) return undefined
  const added = Object.keys(features).filter(
    (name) => features[name]?.from !== undefined || features[name]?.sql !== undefined,
  )
  const columns = [...new Set([...ofSource, ...added])]
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
          return sliceIssue(slice, reasonIn(error, columns, kind))
      }
    return undefined
  }, closed)
}

/** Returns why the business metric cannot be computed from what is served. */
export async function issueOfBusiness(definition: ModelDefinition): Promise<string | undefined> {
  const business = definition.monitor?.business
  if (business === undefined) return undefined
  const meant = Object.keys(definition.features).find((name) => answerColumns.includes(name.toLowerCase()))
  if (meant !== undefined)
    return `monitor.business.perPrediction: the feature "${meant}" has the name of a column that each prediction has: rename the feature`
  return withServed(definition, async ({ duck, digested }) => {
    try {
      const types = await columnTypes(duck, `(select (${business.perPrediction}) as value from served)`)
      if (types.get('value') === 'VARCHAR')
        return 'monitor.business.perPrediction: is a text, and must be a number'
      await duck.run(`select cast((${business.perPrediction}) as double) from served`)
      return undefined
    } catch (error) {
      const digest = digestIn(error, digested)
      if (digest !== undefined)
        return `monitor.business.perPrediction: ${digestReason([digest])}, so it cannot be computed: write log: 'value', or leave the feature out`
      const names = [...Object.keys(definition.features), ...answerColumns]
      return `monitor.business.perPrediction: ${reasonIn(error, names)}`
    }
  })
}

/** Tells what only the gate judges: a custom primary metric, groups and slices. */
export async function gateOnlyPartsOf(definition: ModelDefinition): Promise<string | undefined> {
  const found = [standInText(definition.evaluation.policy), await gateOnlySlicesOf(definition)]
  const told = found.filter((each) => each !== undefined)
  return told.length === 0 ? undefined : told.join('; ')
}

/**
 * Names the groups and slices that the monitor cannot determine, because they read columns that are no features. The log of predictions
 * has features only.
 */
async function gateOnlySlicesOf(definition: ModelDefinition): Promise<string | undefined> {
  const { groups, slices } = definition.evaluation
  if (groups.length + slices.length === 0) return undefined
  const named = await withServed(definition, async (table) => {
    const compared = groups.map((name) => ({ name, where: `${quotedIdentifier(name)} is null` }))
    const unknown = async (parts: readonly SliceDefinition[]) =>
      (await sliceMembers(table, parts)).flatMap(({ name, rows }) => (typeof rows === 'string' ? [name] : []))
    return [
      ...(await unknown(compared)).map((name) => `the groups of ${name}`),
      ...(await unknown(slices)).map((name) => `the slice ${name}`),
    ]
  })
  if (named.length === 0) return undefined
  const digested = digestedFeatures(definition.features)
  const without = digested.length === 0 ? '' : `, and ${digestReason(digested)}`
  return `only the gate judges ${named.join(', ')}: the log of predictions has features, and no other columns of the source${without}`
}

/** Runs work with an empty table `served`, as the monitor fills it. */
function withServed<T>(
  { features, label: { output } }: ModelDefinition,
  work: (table: ServedTable) => Promise<T>,
): Promise<T> {
  const preprocessing = Object.entries(features).map(([name, { kind }]) => ({ name, kind }))
  return withDuck(async (duck) => {
    const kinds = preprocessing as Manifest['preprocessing']
    return work(await loadServed(duck, [], { output, features, preprocessing: kinds }))
  }, closed)
}

const sliceIssue = ({ name, where }: SliceDefinition, reason: string): string =>
  `evaluation.slices: "${shown(name)}" (${shown(where)}): ${reason}`

function reasonIn(error: unknown, columns: readonly string[], kind?: SourceDefinition['kind']): string {
  const missing = missingIn(error)
  return missing === undefined
    ? firstLineOf(error)
    : missingColumn(missing, 'which this SQL names', columns, kind)
}
