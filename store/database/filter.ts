/** Builds the condition that the lists of several tables share. */
import sql, { raw, type Sql } from 'sql-template-tag'

export interface ModelFilter {
  /** Only rows of this model. Absent: all rows, including rows without a model. */
  model?: string
}

/** The condition for the rows of a model. The column name comes from code, never from a caller. */
export const ofModel = ({ model = null }: { model?: string | null }, column = 'model'): Sql =>
  sql`(${model}::text is null or ${raw(column)} = ${model})`
