/** Loads and shapes the rows of a source. Every error names the row and what is wrong with it. */
import {
  snapshotColumns,
  snapshotLabels,
  type ModelDefinition,
  type SourceDefinition,
} from '../../domain/model-definition.ts'
import { neededColumns } from '../../domain/validation/needed-columns.ts'
import type { DeclaredKind } from '../../domain/values/readings.ts'
import { declaredKinds, namingColumns } from '../../models/define/data/declared-kinds.ts'
import type { Duck } from './duckdb.ts'
import { explainRows, requireColumns } from './explain-rows.ts'
import { loadRows } from './known-rows.ts'
import { openSourceFiles, reopenSourceFiles, withoutRows } from './source-files.ts'
import { unreadable } from './source-views.ts'

export interface OpenRows {
  /** Fills the table `known` from the files of the source. */
  load(query: string): Promise<void>
  /** Fills the table `shaped` from `known`. */
  shape(query: string): Promise<void>
}

/** Opens the files of a source that has files. */
export async function openRows(duck: Duck, definition: ModelDefinition): Promise<OpenRows> {
  const { source } = definition
  const needed = neededColumns(definition)
  const { load, explaining, rows } = await openFiles(duck, source, {
    declared: declaredKinds(definition),
    needed: needed.events,
    names: namingColumns(definition),
  })
  const [file, ...others] = rows.files
  if (file?.rows === 0 && others.length === 0) throw unreadable(withoutRows(file.file))
  return {
    load,
    shape: (query) =>
      explaining(
        (async () => {
          const names = await requireColumns(rows, source.derive ?? 'known', needed.rows)
          requireFreeNames(names, snapshotLabels(definition.label.output))
          // Searching for common subexpressions takes a minute for 5,000 columns and saves nothing here.
          await duck.run(`set disabled_optimizers = 'common_subexpressions'`)
          await duck.run(`create temp table shaped as ${query}`)
          await duck.run('reset disabled_optimizers')
        })(),
      ),
  }
}

/** Rejects a source column named like a column that the snapshot adds: it would be read instead, and no row would train. */
function requireFreeNames(names: readonly string[], labels: readonly string[]): void {
  const own: readonly string[] = [...Object.values(snapshotColumns), ...labels]
  const taken = names.find((name) => own.includes(name.toLowerCase()))
  if (taken !== undefined)
    throw unreadable(
      `the rows of the source have a column "${taken}", a name that snapshots use themselves: rename it or leave it out in \`rows\` of the source`,
    )
}

/** Opens the files of a model or a feature view, and checks that they have the required columns. */
export async function openFiles(
  duck: Duck,
  source: Pick<SourceDefinition, 'kind' | 'files' | 'rows'>,
  {
    declared: given,
    needed,
    names = [],
  }: {
    declared: Readonly<Record<string, DeclaredKind>>
    /** The columns that must exist, each with its use. */
    needed: Readonly<Record<string, string>>
    /** The columns that name a row, an entity or a person. */
    names?: readonly string[]
  },
) {
  const { files, declared } = await openSourceFiles(duck, source, { declared: given, names })
  const rows = { duck, source, files }
  const explaining = <T>(work: Promise<T>): Promise<T> =>
    work.catch(async (error: unknown) => {
      throw await explainRows(rows, error)
    })
  const load = (query: string): Promise<void> =>
    explaining(
      (async () => {
        await requireColumns(rows, `(${source.rows})`, needed)
        await loadRows(duck, query).catch(async (error: unknown) => {
          if (!String(error).includes('CSV Error on Line')) throw error
          await reopenSourceFiles(duck, files, source, declared)
          await loadRows(duck, query)
        })
      })(),
    )
  return { load, explaining, rows }
}
