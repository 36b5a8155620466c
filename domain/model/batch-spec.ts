/** A batch of rows to be answered by the champion: where they come from and where the answers go. */

import type { FeatureFit, Features, Output } from './features.ts'

export type BatchInput =
  /** A file below the directory for batches; its name ends in .parquet or .csv. */
  | { kind: 'file'; path: string }
  /** A query of Tenure's own database, in a transaction that cannot write. */
  | { kind: 'sql'; query: string }

export type BatchOutput =
  /** A Parquet file below the directory for batches. */
  | { kind: 'file'; path: string }
  /** The table `batch_predictions`. */
  | { kind: 'table' }

export interface BatchSpec {
  model: string
  input: BatchInput
  output: BatchOutput
  /** Columns that are carried over to the output, so that an answer finds its row. */
  key: readonly string[]
}

/** Rows of one part: what is done again, at most, after a kill. */
export const shardRows = 200_000

/** A part of the rows of a batch: from one place in its input to another, which is not in it. */
export interface ShardRange {
  shard: number
  from: number
  to: number
}

/** What is wrong with a path below the directory for batches; nothing when it may be used. */
export function issueOfPath(path: string, endings: readonly string[]): string | undefined {
  if (path.length > 500 || !/^[\w.-]+(\/[\w.-]+)*$/.test(path))
    return `${JSON.stringify(path.slice(0, 80))} is no path of letters, digits, "_", "." and "-" below the directory for batches`
  if (path.split('/').some((part) => /^\.+$/.test(part))) return `${JSON.stringify(path)} leads elsewhere`
  if (!endings.some((ending) => path.endsWith(ending)))
    return `${JSON.stringify(path)} does not end in ${endings.join(' or ')}`
  return undefined
}

/** What is wrong with a batch; empty when it may begin. */
export function issuesOfBatch({ input, output, key }: Omit<BatchSpec, 'model'>): string[] {
  const issues: (string | undefined)[] = []
  if (input.kind === 'file') issues.push(issueOfPath(input.path, ['.parquet', '.csv']))
  else if (!/^\s*(select|with|table|values)\b/i.test(input.query) || input.query.includes(';'))
    issues.push('the query is one SELECT without a semicolon')
  if (output.kind === 'file') {
    issues.push(issueOfPath(output.path, ['.parquet']))
    if (input.kind === 'file' && input.path === output.path) issues.push('the output would replace the input')
  }
  if (new Set(key).size !== key.length) issues.push('a column of the key stands twice')
  const own = key.filter((name) => ['row', 'outputs', 'answer', 'problem'].includes(name))
  if (own.length > 0) issues.push(`the output has columns ${own.join(', ')} of its own`)
  return issues.filter((issue) => issue !== undefined)
}

/** What a row was answered in a word: whether the threshold is reached, or the likeliest class; null for a number, which says it itself. */
export function predictedText(output: Output, outputs: readonly (number | null)[]): string | null {
  switch (output.kind) {
    case 'probability':
      return String((outputs[0] ?? 0) >= output.threshold)
    case 'classes': {
      let best = 0
      for (let i = 1; i < outputs.length; i++) if ((outputs[i] ?? 0) > (outputs[best] ?? 0)) best = i
      return output.classes[best] ?? null
    }
    case 'number':
      return null
  }
}

/** What stands in the place of a text: its place among the codes, or one of these. */
export const textCodes = { missing: -1, other: -2, unstorable: -3 } as const

/**
 * The layout of rows on their way to the process that answers them: column by column, the numbers first, each as doubles with NaN
 * where nothing is and infinity where no number is; then the texts, each as whole numbers of 32 bits.
 */
export interface BatchLayout {
  numbers: string[]
  /** With the texts that have a code, in their order. */
  texts: { name: string; codes: string[] }[]
}

export function batchLayoutOf(features: Features, fits: readonly FeatureFit[]): BatchLayout {
  const layout: BatchLayout = { numbers: [], texts: [] }
  for (const [name, feature] of Object.entries(features)) {
    if (feature.kind === 'number') {
      layout.numbers.push(name)
      continue
    }
    const fit = fits.find((each) => each.name === name)
    const known = fit?.kind === 'category' ? fit.vocabulary : []
    const codes = [...new Set([...(feature.values ?? []), ...known])].filter((text) => !text.includes('\0'))
    layout.texts.push({ name, codes })
  }
  return layout
}

export const bytesOfRow = ({ numbers, texts }: BatchLayout): number => numbers.length * 8 + texts.length * 4
