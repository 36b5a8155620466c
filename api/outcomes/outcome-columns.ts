/** Names the columns of an outcome in files. */
export const outcomeColumns: readonly string[] = ['prediction_id', 'value', 'observed_at']
