/**
 * The search attributes that the workflows set. A namespace of somebody else's cluster has none of them, and a workflow
 * that sets an unknown one fails its task again and again without ever ending.
 */
import type { Connection } from '@temporalio/client'
import { searchAttributes } from '../../temporal.config.ts'
import { failure } from '../client/client.ts'

/** `INDEXED_VALUE_TYPE_KEYWORD` of Temporal's protocol. */
const keyword = 2
const settleMs = 8_000
const pollMs = 100

/** Makes those that are missing and waits until the namespace knows them; answers their names. */
export async function ensureSearchAttributes(connection: Connection, namespace: string): Promise<string[]> {
  const missing = await missingIn(connection, namespace)
  if (missing.length === 0) return []
  try {
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing.map((name) => [name, keyword])),
    })
  } catch (error) {
    throw failure({
      code: 'configuration_invalid',
      detail: `the namespace ${namespace} has no search attributes ${missing.join(', ')}, and this key may not make them: ${error instanceof Error ? error.message : String(error)}`,
      remedy: 'Make them there, each of the type Keyword, and start again.',
    })
  }
  const deadline = Date.now() + settleMs
  while ((await missingIn(connection, namespace)).length > 0 && Date.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  return missing
}

async function missingIn(connection: Connection, namespace: string): Promise<string[]> {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace })
  return searchAttributes.filter((name) => customAttributes?.[name] === undefined)
}
