/** Asks on a terminal before a command that changes production. `--yes` skips the question; a script without a terminal is not asked. */
import { createInterface } from 'node:readline/promises'
import { usageError } from '../client/client.ts'
import type { Options } from '../program.ts'
import type { Terminal } from '../terminal.ts'

export const yesOption = ['--yes', 'Do not ask for confirmation'] as const

/** Asks and returns the answer; undefined without a terminal, and with `--yes`. */
export async function askOnTerminal(
  { interactive }: Terminal,
  question: string,
  { yes }: Options = {},
): Promise<string | undefined> {
  if (yes === true || !interactive || process.stdin.isTTY !== true) return undefined
  const prompt = createInterface({ input: process.stdin, output: process.stdout })
  try {
    return (await prompt.question(question)).trim()
  } finally {
    prompt.close()
  }
}

export const isYes = (answer: string | undefined): boolean => /^y(es)?$/i.test(answer ?? '')

/** Throws `usage` unless the user agrees. `what` describes the change; it is called only when the question is shown. */
export async function confirm(
  terminal: Terminal,
  { yes }: Options,
  what: () => string | Promise<string>,
): Promise<void> {
  if (yes === true || !terminal.interactive || process.stdin.isTTY !== true) return
  if (!isYes(await askOnTerminal(terminal, `${await what()} [y/N] `)))
    throw usageError('nothing was changed', 'Answer y, or add --yes.')
}
