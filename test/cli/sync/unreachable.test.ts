/** Tests what `tenure models sync` says while Temporal does not run. */
import { Connection } from '@temporalio/client'
import { afterEach, expect, it, vi } from 'vitest'
import { exitCodeOf } from '../../../cli/exit-codes.ts'
import { withTemporal } from '../../../cli/sync/sync-models.ts'
import { readConfig } from '../../../temporal.config.ts'

const config = readConfig({
  DATABASE_URL: 'postgres://tenure@127.0.0.1/none',
  TEMPORAL_ADDRESS: '127.0.0.1:1',
})
const connecting = () => withTemporal(config, () => Promise.resolve())
afterEach(() => void vi.restoreAllMocks())

it('a Temporal that does not respond is named with its address and what to do, and is no defect', async () => {
  vi.spyOn(Connection, 'connect').mockRejectedValue(new Error('Failed to connect before the deadline'))
  await expect(connecting()).rejects.toMatchObject({
    code: 'temporal_unavailable',
    message: 'Temporal does not respond at 127.0.0.1:1',
    context: { remedy: expect.stringContaining('`tenure up`') as string },
  })
  expect(exitCodeOf({ code: 'temporal_unavailable', status: 503 } as never)).toBe(3)
})

it('another fault of the connection is told as it is', async () => {
  vi.spyOn(Connection, 'connect').mockRejectedValue(new Error('the key was refused'))
  await expect(connecting()).rejects.toThrow('the key was refused')
})
