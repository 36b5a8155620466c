/** Reads files that contain secrets; messages show no excerpt of them. */
import { readFile } from 'node:fs/promises'
import type { z } from 'zod'
import { DomainError } from '../domain/errors.ts'
import { withoutExcerpt } from '../domain/redact.ts'
import { issueText, listIssues } from './schema-issues.ts'

/** Undefined without the file. `name` stands for it in errors. Throws `configuration_invalid` with every issue. */
export async function readSecretJson<Schema extends z.ZodType>(
  file: string,
  schema: Schema,
  name = file,
): Promise<z.infer<Schema> | undefined> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new DomainError('configuration_invalid', `${name} cannot be read (${error.code})`)
  })
  if (text === undefined) return undefined
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch (error) {
    // An excerpt could contain an address or a secret.
    const why = withoutExcerpt((error as Error).message)
    throw new DomainError('configuration_invalid', `${name} is not valid JSON: ${why}`)
  }
  const parsed = schema.safeParse(found, { error: issueText })
  if (parsed.success) return parsed.data
  const issues = listIssues(parsed.error)
  throw new DomainError('configuration_invalid', `${name}: ${issues.join('; ')}`, { issues })
}

/** Returns the text of a file in the folder of secrets. `what` names it in the error. Throws `configuration_invalid`. */
export async function readSecret(file: string, what: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code
    throw new DomainError('configuration_invalid', `${what} cannot be read (${why})`)
  }
}
