/** Suggests a name for a mistyped one. */
import { Command } from 'commander'

/** Returns `Did you mean flight-delay?`; undefined if the name exists or none is similar. */
export function didYouMean(names: readonly string[], given: string): string | undefined {
  // commander's own comparison, as for the names of commands.
  const known = new Command().exitOverride().configureOutput({ writeErr: () => {}, outputError: () => {} })
  for (const name of names) known.command(name)
  try {
    known.parse([given], { from: 'user' })
    return undefined
  } catch (error) {
    return /Did you mean .*\?/.exec((error as Error).message)?.[0]
  }
}
