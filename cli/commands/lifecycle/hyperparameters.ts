/** Reads hyperparameters from the command line: `--set units=32`. */
import { usageError } from '../../client/client.ts'

export type HyperparameterOption = number | string | boolean

/** A number, true or false as written; everything else is a text, and `"32"` in quotes too. */
export function parseHyperparameter(text: string): HyperparameterOption {
  if (text === 'true' || text === 'false') return text === 'true'
  if (/^-?\d+(\.\d+)?(e[-+]?\d+)?$/i.test(text)) return Number(text)
  const quoted = /^"(.*)"$/s.exec(text)
  return quoted ? quoted[1]! : text
}

/** The values of `--set`; undefined without any. */
export function readOverrides(
  pairs: readonly string[] | undefined,
): Record<string, HyperparameterOption> | undefined {
  if (pairs === undefined) return undefined
  const overrides: Record<string, HyperparameterOption> = {}
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    if (at < 1) throw usageError(`Invalid --set "${pair}"; use name=value, such as --set units=32`)
    const name = pair.slice(0, at)
    if (Object.hasOwn(overrides, name)) throw usageError(`--set ${name} is given twice`)
    overrides[name] = parseHyperparameter(pair.slice(at + 1))
  }
  return overrides
}
