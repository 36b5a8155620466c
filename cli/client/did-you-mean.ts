/** Finds the name that was probably meant. */
import { Command } from 'commander'

/** `Did you mean flight-delay?`; undefined when the name is there, or none is similar. */
export function didYouMean(names: readonly string[], given: string): string | undefined {
  // Compares the names as commander compares those of commands.
  const known = new Command().exitOverride().configureOutput({ writeErr: () => {}, outputError: () => {} })
  for (const name of names) known.command(name)
  try {
    known.parse([given], { from: 'user' })
    return undefined
  } catch (error) {
    return /Did you mean .*\?/.exec((error as Error).message)?.[0]
  }
}
