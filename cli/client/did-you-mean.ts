/**
 * Suggests a name for a mistyped one. commander's own comparison permits three edits of any word, so that `predict` would suggest `reject`:
 * a suggestion is kept only where at most a third of the longer word is edited.
 */
import { Command } from 'commander'

/** Returns `Did you mean flight-delay?`; undefined if the name exists or none is similar. */
export function didYouMean(names: readonly string[], given: string): string | undefined {
  const known = new Command().exitOverride().configureOutput({ writeErr: () => {}, outputError: () => {} })
  for (const name of names) known.command(name)
  try {
    known.parse([given], { from: 'user' })
    return undefined
  } catch (error) {
    return /Did you mean .*\?/.exec(withoutFarSuggestion((error as Error).message))?.[0]
  }
}

/** Drops from a message of commander the suggestions that are far from the given word. */
export function withoutFarSuggestion(message: string): string {
  const [, given = ''] = /'([^']*)'/.exec(message) ?? []
  return message.replace(/\s*\(Did you mean (?:one of )?(.*)\?\)/, (_, names: string) => {
    const near = names.split(', ').filter((name) => isNear(given, name))
    return near.length === 0 ? '' : ` (Did you mean ${near.length > 1 ? 'one of ' : ''}${near.join(', ')}?)`
  })
}

const isNear = (one: string, other: string): boolean =>
  editDistance(one, other) <= Math.max(one.length, other.length) / 3

/** The number of letters to insert, delete, replace or swap with the next one: the optimal string alignment distance. */
function editDistance(one: string, other: string): number {
  const rows = [Array.from({ length: other.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= one.length; i++) {
    const row = [i]
    for (let j = 1; j <= other.length; j++) {
      const replaced = rows[i - 1]![j - 1]! + Number(one[i - 1] !== other[j - 1])
      const isSwapped = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]
      const swapped = isSwapped ? rows[i - 2]![j - 2]! + 1 : Infinity
      row.push(Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, replaced, swapped))
    }
    rows.push(row)
  }
  return rows[one.length]![other.length]!
}
