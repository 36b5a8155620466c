/** Reads the options of commands that train: hyperparameters (`--set units=32`) and the time of the data (`--as-of`). */
import { usageError } from '../../client/client.ts'

/** Of commands that train. */
export const asOfOption = ['--as-of <time>', 'Use only data known at this time (default: now)'] as const
/** Of commands that bring a trained version. */
export const evaluateAsOfOption = [
  '--as-of <time>',
  'Evaluate on the data known at this time (default: now)',
] as const

export type HyperparameterOption = number | string | boolean

/** Parses a number, true or false. Any other text is a string, and so are `"32"` in quotes and digits that a number would change: 01234. */
export function parseHyperparameter(text: string): HyperparameterOption {
  if (text === 'true' || text === 'false') return text === 'true'
  if (/^-?\d+$/.test(text)) return String(Number(text)) === text ? Number(text) : text
  if (/^-?(0|[1-9]\d*)(\.\d+)?(e[-+]?\d+)?$/i.test(text)) return Number(text)
  const quoted = /^"(.*)"$/s.exec(text)
  return quoted ? quoted[1]! : text
}

/** Returns the values of `--set`; undefined without any. */
export function readOverrides(
  pairs: readonly string[] | undefined,
): Record<string, HyperparameterOption> | undefined {
  if (pairs === undefined) return undefined
  return readPairs('--set', pairs, {
    use: 'name=value, such as --set units=32',
    read: (text) => {
      const value = parseHyperparameter(text)
      return typeof value === 'number' && !Number.isFinite(value) ? undefined : value
    },
  })
}

/** Reads the values of an option given as `name=value`, by name. `read` returns undefined for an invalid value. */
export function readPairs<Value>(
  flag: string,
  pairs: readonly string[],
  { use, read }: { use: string; read: (text: string) => Value | undefined },
): Record<string, Value> {
  const values = new Map<string, Value>()
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    const [name, value] = [pair.slice(0, at), read(pair.slice(at + 1))]
    if (at < 1 || value === undefined) throw usageError(`Invalid ${flag} "${pair}"; use ${use}`)
    if (values.has(name)) throw usageError(`${flag} ${name} is given twice`)
    values.set(name, value)
  }
  return Object.fromEntries(values)
}
