/** Reads the state file of a project: YAML with comments. */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parse } from 'yaml'
import { DomainError } from '../../domain/errors.ts'
import { parseStateFile, type StateOfFile } from '../../store/installation/state-file.ts'

const maxBytes = 1_000_000

/** Throws `configuration_invalid` with all issues. */
export function readStateFile(path: string): StateOfFile {
  const file = basename(path)
  const refuse = (why: string) => new DomainError('configuration_invalid', `${file}: ${why}`)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new DomainError('configuration_invalid', `there is no state file ${path}`, {
        remedy: `Write it, as docs/how-to/projects/state-file.md describes, or name another with --file.`,
      })
    throw refuse(`it cannot be read: ${(error as Error).message}`)
  }
  if (text.length > maxBytes) throw refuse(`it has more than ${maxBytes} characters`)
  let given: unknown
  try {
    given = parse(text, { maxAliasCount: 100, prettyErrors: true })
  } catch (error) {
    // The first line gives the error and its place; an excerpt of the file follows.
    throw refuse((error as Error).message.split('\n')[0] ?? '')
  }
  return parseStateFile(given ?? {}, file)
}
