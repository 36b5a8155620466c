/** Defines a batch prediction: its input, its output, and the layout of rows between processes. */
import { heldInputsOf, type FeatureFit } from '@tenure/predictors/features'
import { base64LengthOf, imagePattern } from '../values/media.ts'
import { maxBytesOf, maxLengthOf, type Feature, type Features } from './features.ts'
import type { Output } from '../tasks/output.ts'
import { taskOf } from '../tasks/tasks.ts'

export type BatchInput =
  /** A file below the directory for batches, with the extension .parquet or .csv. */
  | { kind: 'file'; path: string }
  /**
   * A query in a read-only transaction: of Tenure's database, run as `tenure_reader`, or of the Postgres that `database` names, which a model
   * file may do.
   */
  | { kind: 'sql'; query: string; database?: string }

export type BatchOutput =
  /** A Parquet file below the directory for batches. */
  | { kind: 'file'; path: string }
  /** The table `batch_predictions`. */
  | { kind: 'table' }

export interface BatchSpec {
  model: string
  input: BatchInput
  output: BatchOutput
  /** The columns copied to the output, to identify the rows. */
  key: readonly string[]
  /** About how many rows enter the prediction log, chosen at random. Default: none. */
  log?: number
}

export const maxLoggedRows = 100_000

export interface NotFound {
  /** The name of a looked-up feature. */
  feature: string
  /** The number of rows whose entity is unknown or has no recent value. */
  rows: number
}

/** The end of a sentence; empty when something was found for every row. */
export const notFoundText = (found: readonly NotFound[] = []): string =>
  found.length === 0
    ? ''
    : `; the lookup found nothing for ${found.map(({ feature, rows }) => `${feature} in ${rows}`).join(', ')} of them`

/** Rows per shard; a crash repeats at most one shard. */
export const shardRows = 200_000

/** The rows of one shard: from `from` to `to`, exclusive. */
export interface ShardRange {
  shard: number
  from: number
  to: number
}

/** Why a path below the batch directory is invalid; undefined when it is valid. */
export function issueOfPath(path: string, endings: readonly string[]): string | undefined {
  if (path.length > 500 || !/^[\w.-]+(\/[\w.-]+)*$/.test(path))
    return `${JSON.stringify(path.slice(0, 80))} is not a path of letters, digits, "_", "." and "-" below the directory for batches`
  if (path.split('/').some((part) => /^\.+$/.test(part))) return `${JSON.stringify(path)} leads elsewhere`
  if (!endings.some((ending) => path.endsWith(ending)))
    return `${JSON.stringify(path)} does not end in ${endings.join(' or ')}`
  return undefined
}

/**
 * Why a key of some models may not name these files; undefined when it may. Files have no row-level security: the first folder of a path is
 * their model. A key of all models may name any file below the directory.
 */
export function issueOfForeignPath(
  model: string,
  { input, output }: Pick<BatchSpec, 'input' | 'output'>,
): string | undefined {
  const paths = [input, output].flatMap((each) => (each.kind === 'file' ? [each.path] : []))
  const foreign = paths.find((path) => !path.startsWith(`${model}/`))
  return (
    foreign &&
    `a key of some models names batch files in the folder of their model only, such as ${model}/answers.parquet, not ${foreign}`
  )
}

/** The key of a batch file in the object store. */
export const batchKey = (path: string): string => `batches/${path}`

/** The issues of a batch; empty when it is valid. */
export function issuesOfBatch({ input, output, key, log = 0 }: Omit<BatchSpec, 'model'>): string[] {
  const issues: (string | undefined)[] = []
  if (input.kind === 'file') issues.push(issueOfPath(input.path, ['.parquet', '.csv']))
  else if (!/^\s*(select|with|table|values)\b/i.test(input.query) || input.query.includes(';'))
    issues.push('the query is one SELECT without a semicolon')
  if (output.kind === 'file') {
    issues.push(issueOfPath(output.path, ['.parquet']))
    if (input.kind === 'file' && input.path === output.path) issues.push('the output would replace the input')
  }
  if (new Set(key).size !== key.length) issues.push('a column of the key stands twice')
  const names = ['row', 'outputs', 'answer', 'problem', ...(log > 0 ? ['prediction_id'] : [])]
  const own = key.filter((name) => names.includes(name))
  if (own.length > 0) issues.push(`the output has columns ${own.join(', ')} of its own`)
  if (!(Number.isInteger(log) && log >= 0 && log <= maxLoggedRows))
    issues.push(`log is a whole number of rows up to ${maxLoggedRows}, not ${log}`)
  return issues.filter((issue) => issue !== undefined)
}

/** The prediction as text: whether the threshold is reached, or the most likely class; null for a number. */
export function predictedText(output: Output, outputs: readonly (number | null)[]): string | null {
  const { decides } = taskOf(output)
  const known = outputs.map((value) => value ?? 0)
  return decides === undefined ? null : String(decides.value(output, decides.of(output, known)))
}

/** The codes of texts: the index in the vocabulary, or one of these. */
export const textCodes = { missing: -1, other: -2, refused: -3 } as const

/**
 * The layout of rows for the scoring process, by columns: first the numbers as doubles (NaN: missing, infinity: not a number), then the
 * text codes as 32-bit integers. When the model takes texts themselves, those follow row by row, each as its 32-bit length and its UTF-8
 * bytes.
 */
export interface BatchLayout {
  numbers: string[]
  /** In the order of the preprocessing, with the vocabulary in code order. */
  texts: TextColumn[]
}

export interface TextColumn {
  name: string
  codes: string[]
  /** Whether the model takes the text itself, or the numbers that it holds; for other columns null follows in the row. */
  isTaken: boolean
  /** SQL that says whether the text `$text` is no value of the feature; absent where all texts are. */
  refused?: string
}

export function batchLayoutOf(features: Features, fits: readonly FeatureFit[]): BatchLayout {
  const layout: BatchLayout = { numbers: [], texts: [] }
  for (const fit of fits) {
    const { name, kind } = fit
    const feature = features[name]
    if (kind === 'number') {
      layout.numbers.push(name)
      continue
    }
    const values = feature?.kind === 'category' ? (feature.values ?? []) : []
    const codes = [...new Set([...values, ...fit.vocabulary])].filter((text) => !text.includes('\0'))
    const refused = feature && refusedText(feature)
    const isTaken = fit.encoding === 'text' || heldInputsOf(fit) !== undefined
    layout.texts.push({ name, codes, isTaken, ...(refused && { refused }) })
  }
  return layout
}

/** The same as `textIssue`, as SQL of DuckDB. */
function refusedText(feature: Feature): string | undefined {
  switch (feature.kind) {
    case 'text':
      // In UTF-16 units, as requests are read: a character above U+FFFF has two.
      return `length($text) + length(regexp_replace($text, '[^\\x{10000}-\\x{10FFFF}]', '', 'g')) > ${maxLengthOf(feature)}`
    case 'vector':
      // DuckDB also reads nan, null and numbers in quotation marks.
      return `coalesce(len(list_filter(try_cast($text as float[]), x -> isfinite(x))), -1) <> ${feature.length} or not regexp_full_match($text, '[-+0-9.eE,[:space:]\\[\\]]*')`
    case 'image':
      return `length($text) > ${base64LengthOf(maxBytesOf(feature))} or length($text) % 4 <> 0 or not regexp_matches($text, '${imagePattern}')`
    case 'number':
    case 'category':
      return undefined
  }
}

/** Whether texts follow the columns. */
export const hasTakenTexts = ({ texts }: BatchLayout): boolean => texts.some(({ isTaken }) => isTaken)

/** The bytes of a row without its texts. */
export const bytesOfRow = ({ numbers, texts }: BatchLayout): number => numbers.length * 8 + texts.length * 4
