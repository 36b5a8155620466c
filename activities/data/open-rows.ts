/** Loads and shapes the rows of a model; every failure says what is wrong with which row. */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { declaredKinds } from '../../models/define/data/read-values.ts'
import type { Duck } from './duckdb.ts'
import { explainRows, neededColumns, requireColumns } from './explain-rows.ts'
import { loadRows } from './known-rows.ts'
import { openSourceFiles, reopenSourceFiles, unreadable } from './source-files.ts'

export interface OpenRows {
  /** Fills the table `known` from the files of the source. */
  load(query: string): Promise<void>
  /** Fills the table `shaped` from `known`. */
  shape(query: string): Promise<void>
}

/** Opens the files of the source, where it has any. */
export async function openRows(duck: Duck, definition: ModelDefinition): Promise<OpenRows> {
  const { source } = definition
  const declared = declaredKinds(definition)
  const files = await openSourceFiles(duck, source, declared)
  if (files.length === 1 && files[0]?.rows === 0)
    throw unreadable(
      `${files[0].file}: the file has a line with the names of its columns and no rows: export it again`,
    )
  const rows = { duck, source, files }
  const needed = neededColumns(definition)
  const explaining = <T>(work: Promise<T>): Promise<T> =>
    work.catch(async (error: unknown) => {
      throw await explainRows(rows, error)
    })
  return {
    load: (query) =>
      explaining(
        (async () => {
          await requireColumns(rows, `(${source.rows})`, needed.events)
          await loadRows(duck, query).catch(async (error: unknown) => {
            if (!String(error).includes('CSV Error on Line')) throw error
            await reopenSourceFiles(duck, files, source, declared)
            await loadRows(duck, query)
          })
        })(),
      ),
    shape: (query) =>
      explaining(
        (async () => {
          await requireColumns(rows, source.derive ?? 'known', needed.rows)
          await duck.run(`create temp table shaped as ${query}`)
        })(),
      ),
  }
}
