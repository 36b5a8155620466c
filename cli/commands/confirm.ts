/** Asks once on a terminal before a command that changes production. `--yes` does not ask, and a script cannot be asked. */
import { createInterface } from 'node:readline/promises'
import { usageError } from '../client/client.ts'
import type { Options } from '../program.ts'
import type { Terminal } from '../terminal.ts'

export const yesOption = ['--yes', 'Do not ask for confirmation'] as const

/** The answer; undefined where there is no terminal to ask at. */
export async function askOnTerminal(
  { interactive }: Terminal,
  question: string,
): Promise<string | undefined> {
  if (!interactive || process.stdin.isTTY !== true) return undefined
  const prompt = createInterface({ input: process.stdin, output: process.stdout })
  try {
    return (await prompt.question(question)).trim()
  } finally {
    prompt.close()
  }
}

export const isYes = (answer: string | undefined): boolean => /^y(es)?$/i.test(answer ?? '')

/** Throws `usage` unless a person agrees. `what` says what changes; it is read only where it is shown. */
export async function confirm(
  terminal: Terminal,
  { yes }: Options,
  what: () => string | Promise<string>,
): Promise<void> {
  if (yes === true || !terminal.interactive || process.stdin.isTTY !== true) return
  if (!isYes(await askOnTerminal(terminal, `${await what()} [y/N] `)))
    throw usageError('nothing was changed', 'Answer y, or add --yes.')
}
