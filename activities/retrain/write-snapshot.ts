/** Writes the rows of a model, as they were known at a time, to a file of the artifact store. */
import { textLiteral } from '../../domain/sql-text.ts'
import { hasValidation, snapshotColumns, type ModelDefinition } from '../../domain/model-definition.ts'
import { DomainError } from '../../domain/errors.ts'
import type { ExcludedRows } from '../../domain/validation/expectations.ts'
import type { ServedFacts } from '../../domain/training/served-facts.ts'
import { excludedRowsText } from '../../domain/validation/excluded-rows.ts'
import type { RefitRows } from '../../domain/training/rounds.ts'
import { firstNeededMs, planRows, snapshotQuery } from '../../models/define/data/query.ts'
import { textColumns } from '../../models/define/data/declared-kinds.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import type { SubjectKey } from '../../store/signing/subject-hash.ts'
import type { Store } from '../../store/postgres.ts'
import { queryReader } from '../../store/integrations/metric-sources.ts'
import { withDuck, type Duck } from '../data/duckdb.ts'
import { issueOfPrepare } from '../data/prepared-rows.ts'
import { unreadable } from '../data/source-views.ts'
import { requireSlices } from '../data/check-sql.ts'
import { excludeFloods } from '../data/exclude-floods.ts'
import { loadHistory } from '../features/feature-history.ts'
import { loadSourceRows } from '../data/known-rows.ts'
import { countExcludedRows, emptyPartText } from '../data/count-excluded-rows.ts'
import { openRows } from '../data/open-rows.ts'
import { columnTypes } from '../data/rows.ts'
import { settleSubjects } from '../privacy/data-subjects.ts'
import { loadServedRows, maturedAlike } from './served-rows.ts'

export interface WrittenSnapshot {
  digest: string
  bytes: number
  parts: { train: number; validation?: number; test: number }
  columns: Record<string, string>
  /** ISO 8601: when the newest training event happened, of a refit with its validation rows; absent without event times. */
  newestEvent?: string
  /** ISO 8601: when the first test event happened; absent without event times. */
  firstTestEvent?: string
  /** The digest of the list of data subjects, and whether their column is a number; for a model with a subject column. */
  subjects?: string
  subjectIsNumber?: boolean
  excludedRows: ExcludedRows
  /** Facts about the logged predictions that the rows came from. */
  served?: ServedFacts
}

/** Writes the file and stores it under its digest. */
export async function writeSnapshot(options: {
  definition: ModelDefinition
  asOf: string
  /** Writes all matured rows for a refit, without test rows. */
  refit?: RefitRows | undefined
  store: Store
  artifacts: Artifacts
  /** Required for a model with a subject column, and for one of feature views from which subjects were erased. */
  subjectKey?: SubjectKey
}): Promise<WrittenSnapshot> {
  const { asOf, refit, store, artifacts, subjectKey } = options
  // This database reads files, and the SQL may have been stored by another build.
  const issue = await issueOfPrepare(options.definition.features)
  if (issue !== undefined) throw unreadable(issue)
  return withDuck(async (duck) => {
    const asOfMs = Date.parse(asOf)
    const served =
      options.definition.source.served && (await loadServedRows(duck, store, options.definition, asOfMs))
    const definition = maturedAlike(options.definition, served)
    const sinceMs = firstNeededMs(definition, asOfMs)
    const plan = planRows(definition, { asOfMs, sinceMs })
    if (served === undefined) await loadHistory(duck, store, definition, { sinceMs, asOfMs, subjectKey })
    const rows = await openRows(duck, definition)
    let exactNumbers: string[] = []
    if (definition.source.kind === 'postgres')
      exactNumbers = await loadSourceRows(
        duck,
        {
          query: plan.known,
          rows: definition.source.rows,
          times: [definition.source.eventTime, definition.label.knownAt].filter((name) => name !== undefined),
          texts: textColumns(definition),
        },
        queryReader(store, definition.source.database),
      )
    else await rows.load(plan.known)
    const settled = await settleSubjects(duck, { store, artifacts }, definition, { subjectKey, exactNumbers })
    await rows.shape(plan.rows)
    const excludedRows = await countExcludedRows(duck, store, definition, asOfMs)
    const draft = await artifacts.draft('.parquet')
    const query = snapshotQuery(definition, asOfMs, { refit })
    await duck.run(`copy (${query}) to ${textLiteral(draft)} (format parquet, compression zstd)`)
    const flooded = await excludeFloods(duck, { draft, definition, artifacts })
    const {
      train,
      test = refit ? 0 : undefined,
      validation,
      ...events
    } = await readParts(duck, flooded.draft)
    const empty = !train
      ? 'train'
      : !test && !refit
        ? 'test'
        : hasValidation(definition) && refit !== 'whole' && !validation
          ? 'validation'
          : ''
    if (!train || test === undefined || empty !== '') {
      const { name: model } = definition
      const why = await emptyPartText(duck, definition, { asOfMs, train, test })
      const message = `there are no ${empty} rows of ${model} as of ${asOf}${excludedRowsText(excludedRows)}${why}`
      throw new DomainError('snapshot_empty', message, { model, asOf })
    }
    if (!refit) await requireSlices(duck, flooded.draft, definition)
    const columns = Object.fromEntries(await columnTypes(duck, textLiteral(flooded.draft)))
    const taken = await artifacts.take('snapshots', flooded.draft)
    const parts = { train, validation, test }
    if (refit) events.newestEvent = events.newestHeldEvent ?? events.newestEvent
    delete events.newestHeldEvent
    return {
      ...taken,
      parts,
      columns,
      ...events,
      ...settled,
      excludedRows: { ...excludedRows, ...flooded.found },
      served,
    }
  })
}

async function readParts(
  duck: Duck,
  path: string,
): Promise<
  Partial<WrittenSnapshot['parts']> &
    Pick<WrittenSnapshot, 'newestEvent' | 'firstTestEvent'> & { newestHeldEvent?: string }
> {
  const { part, eventAt } = snapshotColumns
  const asText = (moment: string) => `strftime(${moment}, '%Y-%m-%dT%H:%M:%SZ')`
  const rows = await duck.rows<{ part: string; n: number; first: string | null; newest: string | null }>(
    `select ${part} as part, count(*) as n, ${asText(`min(${eventAt})`)} as first, ${asText(`max(${eventAt})`)} as newest
     from ${textLiteral(path)} group by ${part}`,
  )
  const found = (name: string) => rows.find((each) => each.part === name)
  return {
    ...Object.fromEntries(rows.map(({ part: name, n }) => [name, n])),
    newestEvent: found('train')?.newest ?? undefined,
    newestHeldEvent: found('validation')?.newest ?? undefined,
    firstTestEvent: found('test')?.first ?? undefined,
  }
}
