/** Tests the Temporal client without a server. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { launcher } from '../../../temporal.config.ts'
import { openCuttableLink } from '../../support/servers/cuttable-link.ts'

it('closing the client during an abandoned call does not crash the process, although the SDK retries from a timer', async () => {
  const line = await openCuttableLink('tcp://127.0.0.1:1')
  line.cut()
  try {
    // The process ends when no timer is left; an exception of a timer ends it with another code.
    const { stdout } = await promisify(execFile)(process.execPath, [
      launcher,
      'test/support/servers/closing-client.ts',
      new URL(line.url).host,
    ])
    expect(stdout).toMatch(/^Temporal did not respond: /)
  } finally {
    await line.close()
  }
})
