/** Names the columns of an outcome in files. */

/** The column that names the prediction of a row: its id, or the reference of its request. */
export type KeyColumn = 'prediction_id' | 'reference'

/** The columns that a file must have. The first names the prediction. */
export const outcomeColumns = (key: KeyColumn): string[] => [key, 'value', 'observed_at']

/** A column that a file may have beside a reference: the index of the row of a request with several. */
export const instanceColumn = 'instance'
