/** Creates the search attributes of the workflows. A workflow that sets an unknown one retries its task forever. */
import type { Connection } from '@temporalio/client'
import { searchAttributes } from '../../temporal.config.ts'
import { failure } from '../client/client.ts'

/** `INDEXED_VALUE_TYPE_KEYWORD` of Temporal's protocol. */
const keyword = 2
const propagationMs = 8_000
const pollMs = 100

/** Creates the missing attributes, waits until they are usable, and returns their names. */
export async function ensureSearchAttributes(connection: Connection, namespace: string): Promise<string[]> {
  const missing = await missingSearchAttributes(connection, namespace)
  if (missing.length === 0) return []
  try {
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing.map((name) => [name, keyword])),
    })
  } catch (error) {
    throw failure({
      code: 'configuration_invalid',
      detail: `namespace ${namespace} lacks the search attributes ${missing.join(', ')}, and this key may not create them: ${error instanceof Error ? error.message : String(error)}`,
      remedy: 'Create them with the type Keyword, then start again.',
    })
  }
  const deadline = Date.now() + propagationMs
  while ((await missingSearchAttributes(connection, namespace)).length > 0 && Date.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  return missing
}

export async function missingSearchAttributes(connection: Connection, namespace: string): Promise<string[]> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace })
  return searchAttributes.filter((name) => customAttributes?.[name] === undefined)
}
