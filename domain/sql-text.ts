/** Writes names and values into SQL, for DuckDB and Postgres alike. */
export const quotedIdentifier = (name: string): string => `"${name.replaceAll('"', '""')}"`
export const textLiteral = (text: string): string => `'${text.replaceAll("'", "''")}'`
export const timestampLiteral = (ms: number): string =>
  `timestamp '${new Date(ms).toISOString().replace('T', ' ').replace('Z', '')}'`
/** Follows `select *` of DuckDB, with expressions that end in the name of a column; empty without any. */
export const replacing = (columns: readonly string[]): string =>
  columns.length === 0 ? '' : ` replace (${columns.join(', ')})`

/** The clause that gives columns other names, after `*` in DuckDB; empty without any. */
export const renaming = (columns: readonly (readonly [column: string, name: string])[]): string =>
  columns.length === 0
    ? ''
    : ` rename (${columns.map(([column, name]) => `${quotedIdentifier(column)} as ${quotedIdentifier(name)}`).join(', ')})`

/** DuckDB keeps the word `at`, which Postgres does not and which names the time of most events. Returns the SQL with it in quotes. */
export const withQuotedAt = (sql: string): string =>
  sql.replaceAll(
    /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|\bat\b(?!\s*\(|\s+time\s+zone\b)/gi,
    (found) => (/^at$/i.test(found) ? `"${found}"` : found),
  )
