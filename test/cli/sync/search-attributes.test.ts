import type { Connection } from '@temporalio/client'
import { msToTs } from '@temporalio/common/lib/time.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureSearchAttributes } from '../../../cli/sync/search-attributes.ts'
import { searchAttributes } from '../../../temporal.config.ts'
import { connectTemporal, uniqueName } from '../../support/servers/servers.ts'

let connection: Connection
beforeAll(async () => {
  connection = await connectTemporal()
})
afterAll(() => connection.close())

describe('the search attributes of a namespace', () => {
  it('are created once if missing', async () => {
    const namespace = uniqueName('bare')
    await connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: msToTs('1 day'),
    })
    const ensure = () => ensureSearchAttributes(connection, namespace)
    // A namespace is usable shortly after its registration.
    await expect.poll(() => ensure().catch(() => undefined)).toEqual([...searchAttributes])
    expect(await ensure()).toEqual([])
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace })
    expect(Object.keys(customAttributes ?? {})).toEqual(expect.arrayContaining([...searchAttributes]))
  })

  it('fail at once for an unknown namespace', async () => {
    await expect(ensureSearchAttributes(connection, uniqueName('absent'))).rejects.toThrow()
  })
})
