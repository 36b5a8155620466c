/** Does the same to several subjects, and says what was done and what was refused. */
import { commandProblemOf } from '../client/client.ts'
import { exitCodeOf, exitCodes, type CommandProblem, type ExitCode } from '../exit-codes.ts'
import type { Terminal } from '../terminal.ts'

/** Calls `act` with each subject in turn. Throws what refuses the only one; of several, returns what was refused, by subject. */
export async function doEach<Subject, Done>(
  subjects: readonly Subject[],
  { nameOf, act }: { nameOf: (subject: Subject) => string; act: (subject: Subject) => Promise<Done> },
): Promise<{ done: Done[]; refused: Refusal[] }> {
  const done: Done[] = []
  const refused: Refusal[] = []
  for (const subject of subjects)
    try {
      done.push(await act(subject))
    } catch (error) {
      const problem = commandProblemOf(error)
      if (problem === undefined || subjects.length === 1) throw error
      refused.push({ name: nameOf(subject), ...problem })
    }
  return { done, refused }
}

export interface Refusal extends CommandProblem {
  name: string
}

/** Prints what was refused, below the answer, and returns the exit code. */
export function printRefused(terminal: Terminal, refused: readonly Refusal[]): ExitCode {
  for (const { name, detail, code, remedy } of terminal.json ? [] : refused) {
    terminal.complain(`${terminal.paint('red', `✗ ${name}`)} ${detail} (${code})`)
    if (remedy !== undefined) terminal.complain(`      ${remedy}`)
  }
  const [first] = refused
  return first === undefined ? exitCodes.done : exitCodeOf(first)
}
